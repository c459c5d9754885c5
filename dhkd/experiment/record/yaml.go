package record

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/spell"
)

// Limits of a YAML file. Recipes are small; the limits keep a hostile file from costing memory, stack or time.
const (
	maxYAMLBytes = 64 << 10
	maxYAMLDepth = 16 // brackets within brackets, and entries that start on one line
)

// document is a YAML file that is being decoded. goccy/go-yaml parses; its decoder is not used because it is lenient
// where a recipe must not be: 2.7 and "3" become integers, an empty value becomes zero, and errors carry no path.
type document struct {
	name      string
	positions map[string]*token.Position // of each key's value, by path, "runs[2].optimizer.learning_rate"
}

// parseYAML returns the only document of a YAML file. Anchors, aliases, merge keys and tags are refused: nothing in an
// experiment needs them, and they can make a small file an enormous value.
func parseYAML(name string, data []byte) (doc *document, root ast.Node, err error) {
	doc = &document{name: name, positions: map[string]*token.Position{}}
	if len(data) > maxYAMLBytes {
		return nil, nil, fmt.Errorf("%s: too large: %d bytes, at most %d are read", name, len(data), maxYAMLBytes)
	}
	defer func() { // a bug of the parser is the file's problem, not the program's
		if r := recover(); r != nil {
			doc, root, err = nil, nil, fmt.Errorf("%s: not valid YAML (the parser gave up: %v)", name, r)
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if err := doc.checkTokens(tokens); err != nil {
		return nil, nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		if at, ok := err.(interface {
			GetToken() *token.Token
			GetMessage() string
		}); ok && at.GetToken() != nil {
			return nil, nil, doc.errorAt(at.GetToken().Position, "", "%s", oneLine(at.GetMessage()))
		}
		return nil, nil, fmt.Errorf("%s: not valid YAML: %s", name, oneLine(err.Error()))
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, nil, fmt.Errorf("%s: empty", name)
	}
	if len(file.Docs) > 1 {
		return nil, nil, fmt.Errorf("%s: holds %d YAML documents; write one", name, len(file.Docs))
	}
	return doc, file.Docs[0].Body, nil
}

// checkTokens refuses what is not supported before the recursive parser sees it.
func (d *document) checkTokens(tokens token.Tokens) error {
	depth, line, entries := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, entries = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return d.errorAt(t.Position, "",
				"anchors, aliases and merge keys are not supported; what runs share is written once, at the top level")
		case token.TagType, token.DirectiveType, token.MappingKeyType:
			return d.errorAt(t.Position, "", "tags, directives and complex keys are not supported")
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			entries++
		}
		if depth > maxYAMLDepth || entries > maxYAMLDepth {
			return d.errorAt(t.Position, "", "nested too deeply")
		}
	}
	return nil
}

// decode sets v from node. What v holds stays where the file says nothing, so a run is decoded onto a copy of what the
// runs share. A pointer takes the word none for nil; an [ast.Node] takes anything.
func (d *document) decode(node ast.Node, v reflect.Value, path string) error {
	if v.Type() == reflect.TypeFor[ast.Node]() {
		v.Set(reflect.ValueOf(node))
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if text, ok := plain(node); ok && text == "none" {
			v.SetZero()
			return nil
		}
		target := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			target.Elem().Set(v.Elem())
		}
		if err := d.decode(node, target.Elem(), path); err != nil {
			return err
		}
		v.Set(target)
		return nil
	case reflect.Struct:
		return d.decodeStruct(node, v, path)
	case reflect.Slice:
		list, ok := node.(*ast.SequenceNode)
		if !ok {
			return d.errorAt(nil, path, "want a list, such as [1, 2, 3], found %s", describe(node))
		}
		items := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
		for i, item := range list.Values {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.positions[at] = position(item)
			if err := d.decode(item, items.Index(i), at); err != nil {
				return err
			}
		}
		v.Set(items)
		return nil
	}
	return d.decodeScalar(node, v, path)
}

func (d *document) decodeStruct(node ast.Node, v reflect.Value, path string) error {
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		return d.errorAt(nil, path, "want keys with values (%s), found %s",
			strings.Join(keys(v.Type()), ", "), describe(node))
	}
	seen := map[string]bool{}
	for _, entry := range mapping.Values {
		keyToken := entry.Key.GetToken()
		key := keyToken.Value
		at := key
		if path != "" {
			at = path + "." + key
		}
		i := slices.Index(keys(v.Type()), key)
		if i < 0 {
			return d.errorAt(keyToken.Position, at, "unknown key; %s", suggest(key, keys(v.Type())))
		}
		if seen[key] {
			return d.errorAt(keyToken.Position, at, "given twice")
		}
		seen[key] = true
		d.positions[at] = keyToken.Position
		if _, ok := entry.Value.(ast.ScalarNode); ok && entry.Value.Type() != ast.NullType {
			d.positions[at] = position(entry.Value)
		}
		if err := d.decode(entry.Value, v.Field(i), at); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) decodeScalar(node ast.Node, v reflect.Value, path string) error {
	text, isPlain := plain(node)
	var err error
	switch v.Kind() {
	case reflect.String:
		switch n := node.(type) {
		case *ast.StringNode:
			v.SetString(n.Value)
			return nil
		case *ast.LiteralNode:
			v.SetString(n.Value.Value)
			return nil
		}
		if isPlain && node.Type() != ast.NullType {
			return d.errorAt(nil, path, "want text, found %s; put it in quotes", describe(node))
		}
		return d.errorAt(nil, path, "want text, found %s", describe(node))
	case reflect.Bool:
		if n, ok := node.(*ast.BoolNode); ok {
			v.SetBool(n.Value)
			return nil
		}
		return d.errorAt(nil, path, "want true or false, found %s", describe(node))
	case reflect.Float64:
		var f float64
		if f, err = strconv.ParseFloat(text, 64); isPlain && err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			v.SetFloat(f)
			return nil
		}
		return d.errorAt(nil, path, "want a finite number, found %s", describe(node))
	case reflect.Int:
		var i int64
		if i, err = strconv.ParseInt(text, 10, strconv.IntSize); isPlain && err == nil {
			v.SetInt(i)
			return nil
		}
		return d.errorAt(nil, path, "want a whole number, found %s", describe(node))
	case reflect.Uint64:
		var u uint64
		if u, err = strconv.ParseUint(text, 10, 64); isPlain && err == nil {
			v.SetUint(u)
			return nil
		}
		return d.errorAt(nil, path, "want a whole number from 0 to %d, found %s", uint64(math.MaxUint64), describe(node))
	}
	panic(fmt.Sprintf("record: no YAML form for %s", v.Type()))
}

// errorAt is an error that starts "file:line:column: path: ". Without a position it is that of path, or of the nearest
// key around it that the file has.
func (d *document) errorAt(at *token.Position, path, format string, args ...any) error {
	for p := path; at == nil && p != ""; {
		at = d.positions[p]
		p = p[:max(0, strings.LastIndexAny(p, ".["))]
	}
	where := d.name
	if at != nil {
		where = fmt.Sprintf("%s:%d:%d", d.name, at.Line, at.Column)
	}
	if path != "" {
		where += ": " + path
	}
	return fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...))
}

// keys are the YAML keys of a struct, a key per field.
func keys(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
	}
	return names
}

// plain returns the text of a scalar that is written without quotes.
func plain(node ast.Node) (string, bool) {
	if _, ok := node.(ast.ScalarNode); !ok {
		return "", false
	}
	t := node.GetToken()
	quoted := t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType || node.Type() == ast.LiteralType
	return t.Value, !quoted
}

// position is where a node's text starts: a block mapping's own token is the colon of its first key.
func position(node ast.Node) *token.Position {
	if m, ok := node.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return m.Values[0].Key.GetToken().Position
	}
	return node.GetToken().Position
}

func describe(node ast.Node) string {
	switch node.Type() {
	case ast.NullType:
		return "nothing"
	case ast.MappingType:
		return "keys with values"
	case ast.SequenceType:
		return "a list"
	}
	text := []rune(node.GetToken().Value)
	if len(text) > 40 {
		text = append(text[:40], '…')
	}
	return strconv.Quote(string(text))
}

// suggest names the option that word is close to, or all of them.
func suggest(word string, options []string) string {
	best, least := "", 1+min(len(word), 64)/3
	for _, option := range options {
		if len(word) > 64 || len(option) > 64 { // no name is
			continue
		}
		if n := spell.Distance(word, option); n <= least {
			best, least = option, n-1
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	return "known are " + strings.Join(options, ", ")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

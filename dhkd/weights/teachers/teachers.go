// Package teachers finds trained networks to distil from: files, entries of a list of published networks, and files of the
// Hugging Face hub. What it downloads is checked, and kept in dhkd's cache, or in the hub's that Python shares.
package teachers

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Teacher is an entry of the list. What is empty is not known.
type Teacher struct {
	Reference    string    `yaml:"reference" json:"reference"` // "crd:resnet32x4"
	Model        string    `yaml:"model" json:"model"`         // the zoo's name
	Classes      int       `yaml:"classes" json:"classes"`
	Dataset      string    `yaml:"dataset" json:"dataset"` // that it was trained on
	Mean         []float64 `yaml:"mean" json:"mean"`       // of each channel: images are normalised with (x - Mean) / Std
	Std          []float64 `yaml:"std" json:"std"`
	URLs         []string  `yaml:"urls" json:"urls"`     // http, https or hf, best first
	Member       string    `yaml:"member" json:"member"` // file in the archive, where the URLs are of one
	Page         string    `yaml:"page" json:"page"`     // for people
	SHA256       string    `yaml:"sha256" json:"sha256"` // of the file, not of its archive
	SHA256Prefix string    `yaml:"sha256_prefix" json:"sha256_prefix"`
	Layout       string    `yaml:"layout" json:"layout"` // see weights.Layouts
	Top1         *float64  `yaml:"top1" json:"top1"`     // published accuracy in per cent
	Top1Source   string    `yaml:"top1_source" json:"top1_source"`
	Tolerance    float64   `yaml:"tolerance" json:"tolerance"` // points that an evaluation may differ from it
	Licence      string    `yaml:"licence" json:"licence"`     // SPDX's name
	Note         string    `yaml:"note" json:"note"`
}

// Tolerance is how many points an evaluation may differ from a published accuracy where the list says nothing else: above
// what backends differ by, below what a wrong normalisation or file makes.
const Tolerance = 0.2

//go:embed teachers.yaml
var published []byte

// List returns the known teachers: those of the file that DHKD_TEACHERS names, if it is set, then the published ones,
// without those of the same reference. The error names the file and the entry.
func List() ([]Teacher, error) {
	list, err := parse("teachers.yaml", published)
	if err != nil {
		return nil, err
	}
	own := os.Getenv("DHKD_TEACHERS")
	if own == "" {
		return list, nil
	}
	data, err := os.ReadFile(own)
	if err != nil {
		return nil, fmt.Errorf("DHKD_TEACHERS: %w", err)
	}
	all, err := parse(own, data)
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		if find(all, t.Reference) == nil {
			all = append(all, t)
		}
	}
	return all, nil
}

// Lookup returns the list's entry of that reference, or nil.
func Lookup(reference string) (*Teacher, error) {
	list, err := List()
	return find(list, reference), err
}

// parse reads a list and checks its entries. Models and data sets are not looked up: an entry may be of one that is not
// here.
func parse(name string, data []byte) ([]Teacher, error) {
	if len(data) > 1<<20 {
		return nil, fmt.Errorf("%s: %d bytes are no list of teachers", name, len(data))
	}
	var list struct {
		Teachers []Teacher `yaml:"teachers"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&list); err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s: %s", name, strings.Join(strings.Fields(yaml.FormatError(err, false, false)), " "))
	}
	if len(list.Teachers) == 0 {
		return nil, fmt.Errorf("%s: lists no teachers", name)
	}
	for i := range list.Teachers {
		t := &list.Teachers[i]
		if t.Tolerance == 0 {
			t.Tolerance = Tolerance
		}
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("%s: teacher %d, %.60q: %w", name, i+1, t.Reference, err)
		}
		if find(list.Teachers[:i], t.Reference) != nil {
			return nil, fmt.Errorf("%s: %s is there twice", name, t.Reference)
		}
	}
	return list.Teachers, nil
}

var (
	reference  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]+:[A-Za-z0-9][A-Za-z0-9._-]*$`)
	digest     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	beginning  = regexp.MustCompile(`^[0-9a-f]{8,63}$`)
	httpScheme = regexp.MustCompile(`^https?://[^/]+/.+`)
)

func (t *Teacher) check() error {
	positive := func(v float64) bool { return v > 0 }
	switch {
	case !reference.MatchString(t.Reference):
		return errors.New(`reference must be like "crd:resnet32x4"`)
	case t.Model == "" || t.Classes < 2 || t.Dataset == "":
		return errors.New("needs model, classes and dataset")
	case len(t.Mean) != len(t.Std) || slices.ContainsFunc(t.Std, func(v float64) bool { return !positive(v) }):
		return errors.New("mean and std must be lists of one length, std of positive numbers")
	case t.Top1 != nil && (*t.Top1 <= 0 || *t.Top1 > 100 || t.Top1Source == ""):
		return errors.New("top1 must be in per cent, with top1_source")
	case t.Tolerance < 0 || t.Tolerance > 100:
		return errors.New("tolerance must be in points")
	case t.SHA256 != "" && !digest.MatchString(t.SHA256) || t.SHA256Prefix != "" && !beginning.MatchString(t.SHA256Prefix):
		return errors.New("sha256 must be 64 hexadecimal digits, sha256_prefix at least 8, in lower case")
	case t.Member != "" && (path.Clean(t.Member) != t.Member || path.IsAbs(t.Member) || strings.HasPrefix(t.Member, "..")):
		return errors.New("member must be a clean path in the archive")
	case len(t.URLs) == 0 && t.Page == "":
		return errors.New("needs urls, or a page where a person finds the file")
	}
	for _, u := range t.URLs {
		switch {
		case strings.HasPrefix(u, hubScheme):
			if _, err := parseHub(u); err != nil {
				return err
			}
			if t.Member != "" {
				return errors.New("a file of the Hugging Face hub cannot be an archive here")
			}
		case !httpScheme.MatchString(u):
			return fmt.Errorf("url %.100q is none of http, https and hf", u)
		case strings.HasPrefix(u, "http:") && t.SHA256 == "" && !local(u):
			return fmt.Errorf("url %s: without a sha256, an address must be https", u)
		}
	}
	return nil
}

// local says whether an address is this machine's.
func local(url string) bool {
	return strings.HasPrefix(url, "http://127.0.0.1:") || strings.HasPrefix(url, "http://localhost:")
}

func find(list []Teacher, reference string) *Teacher {
	i := slices.IndexFunc(list, func(t Teacher) bool { return t.Reference == reference })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// digest is what the SHA-256 of the file is or begins with; empty where nothing is known of it.
func (t *Teacher) digest() string {
	if t.SHA256 != "" {
		return t.SHA256
	}
	return t.SHA256Prefix
}

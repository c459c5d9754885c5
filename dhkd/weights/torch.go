package weights

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/nlpodyssey/gopickle/types"
)

const maxMembers = 1 << 16 // of a zip file

// archive is a PyTorch file whose pickle has been read, and whose storages can be.
type archive struct {
	root any
	// load reads the values of a storage.
	load func(s *storage) ([]byte, error)
}

// tensor is a copy of a view. Each storage is read once.
func (a *archive) tensor(v *view) (t *tensors.Tensor, err error) {
	if v.storage.data == nil {
		if v.storage.data, err = a.load(v.storage); err != nil {
			return nil, err
		}
	}
	return v.storage.element.tensor(v.gather(), v.dimensions)
}

// openZip reads PyTorch's zip format: NAME/data.pkl, and NAME/data/KEY for each storage, uncompressed.
func openZip(file io.ReaderAt, size int64) (*archive, error) {
	members, err := zipMembers(file, size)
	if err != nil {
		return nil, err
	}
	prefix := ""
	for name := range members {
		if dir, base := path.Split(name); base == "data.pkl" && strings.Count(name, "/") == 1 {
			if prefix != "" {
				return nil, errors.New("the zip file holds two data.pkl")
			}
			prefix = dir
		}
	}
	pickled := members[prefix+"data.pkl"]
	switch {
	case pickled == nil:
		return nil, errors.New("the zip file holds no NAME/data.pkl, so it is not a PyTorch file")
	case pickled.UncompressedSize64 > maxPickle:
		return nil, fmt.Errorf("its pickle has %d bytes, the limit is %d", pickled.UncompressedSize64, maxPickle)
	}
	if order := members[prefix+"byteorder"]; order != nil {
		if text, err := readMember(order, 16); err != nil || strings.TrimSpace(string(text)) != "little" {
			return nil, errors.New("its numbers are not little-endian")
		}
	}
	data, err := readMember(pickled, maxPickle)
	if err != nil {
		return nil, err
	}
	if length, err := scanPickle(data); err != nil {
		return nil, err
	} else if length != len(data) {
		return nil, fmt.Errorf("%d bytes follow its pickle", len(data)-length)
	}
	storages := &storageList{byKey: map[string]*storage{}}
	root, err := unpickle(data, storages)
	if err != nil {
		return nil, err
	}
	member := func(s *storage) *zip.File { return members[prefix+"data/"+s.key] }
	for _, s := range storages.order {
		if m := member(s); m == nil {
			return nil, fmt.Errorf("storage %.20q is not in the file", s.key)
		} else if want := uint64(s.count) * uint64(s.element.size); m.UncompressedSize64 != want {
			return nil, fmt.Errorf("storage %.20q has %d bytes, the pickle declares %d", s.key, m.UncompressedSize64, want)
		}
	}
	return &archive{root, func(s *storage) ([]byte, error) { return readMember(member(s), maxFileSize) }}, nil
}

// zipMembers checks all of the directory: members are uncompressed, have plain names of their own, and do not overlap.
func zipMembers(file io.ReaderAt, size int64) (map[string]*zip.File, error) {
	reader, err := zip.NewReader(file, size)
	if err != nil {
		return nil, fmt.Errorf("it is a damaged or truncated zip file (%w)", err)
	}
	if len(reader.File) > maxMembers {
		return nil, fmt.Errorf("it has %d members, the limit is %d", len(reader.File), maxMembers)
	}
	type extent struct{ start, end int64 }
	extents := make([]extent, 0, len(reader.File))
	members := make(map[string]*zip.File, len(reader.File))
	for _, m := range reader.File {
		start, err := m.DataOffset()
		switch {
		case strings.Contains(m.Name, "/code/"):
			return nil, errors.New("it is a TorchScript program: save its state dict instead")
		case members[m.Name] != nil:
			return nil, fmt.Errorf("member %.80q is there twice", m.Name)
		case len(m.Name) > 1024 || path.Clean(m.Name) != strings.TrimSuffix(m.Name, "/") || path.IsAbs(m.Name) ||
			strings.HasPrefix(m.Name, "..") || strings.ContainsAny(m.Name, "\\:\x00"):
			return nil, fmt.Errorf("member %.80q has an unsafe name", m.Name)
		case m.Method != zip.Store || m.UncompressedSize64 != m.CompressedSize64 || m.Flags&1 != 0:
			return nil, fmt.Errorf("member %.80q is compressed or encrypted; PyTorch writes plain ones", m.Name)
		case err != nil:
			return nil, fmt.Errorf("member %.80q: %w", m.Name, err)
		case start > size || m.CompressedSize64 > uint64(size-start):
			return nil, fmt.Errorf("member %.80q lies outside the file", m.Name)
		}
		members[m.Name] = m
		const header = 30 // of a member, and its name, at least
		extents = append(extents, extent{start - header - int64(len(m.Name)), start + int64(m.CompressedSize64)})
	}
	slices.SortFunc(extents, func(a, b extent) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(extents); i++ {
		if extents[i].start < extents[i-1].end {
			return nil, errors.New("members of the zip file overlap")
		}
	}
	return members, nil
}

// readMember reads a member, whose size has been checked, and its checksum.
func readMember(m *zip.File, limit int64) ([]byte, error) {
	if m.UncompressedSize64 > uint64(limit) {
		return nil, fmt.Errorf("member %.80q has %d bytes, the limit is %d", m.Name, m.UncompressedSize64, limit)
	}
	r, err := m.Open()
	if err != nil {
		return nil, fmt.Errorf("member %.80q: %w", m.Name, err)
	}
	defer r.Close()
	data := make([]byte, m.UncompressedSize64)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("member %.80q: %w", m.Name, err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF { // at the end, the checksum is compared
		return nil, fmt.Errorf("member %.80q: %w", m.Name, cmp.Or(err, errors.New("longer than declared")))
	}
	return data, nil
}

// legacyStart is how files of PyTorch before 1.6 begin: a pickle of a magic number.
var legacyStart = []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.")

// legacyVersion is the pickle of the protocol's version, 1001.
var legacyVersion = []byte("\x80\x02M\xe9\x03.")

// openLegacy reads the format of PyTorch before 1.6: pickles of a magic number, a version, the writer's machine, the
// object and the keys of the storages, then each storage with its count.
func openLegacy(file io.ReaderAt, size int64) (*archive, error) {
	head := make([]byte, min(size, maxPickle))
	if _, err := file.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(head, legacyStart)
	if !ok {
		return nil, errors.New("it is a pickle, but not a PyTorch file: its magic number is wrong")
	}
	if rest, ok = bytes.CutPrefix(rest, legacyVersion); !ok {
		return nil, errors.New("its version is not 1001, the only one there is")
	}
	storages := &storageList{byKey: map[string]*storage{}}
	var objects [3]any
	for i, what := range []string{"the writer's machine", "the object", "the list of storages"} {
		length, err := scanPickle(rest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		use := storages
		if i != 1 {
			use = nil
		}
		if objects[i], err = unpickle(rest[:length], use); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		rest = rest[length:]
	}
	if machine, ok := objects[0].(*types.Dict); ok {
		if little, ok := machine.Get("little_endian"); ok && little != true {
			return nil, errors.New("its numbers are not little-endian")
		}
	}
	offsets, err := legacyStorages(file, int64(len(head)-len(rest)), size, objects[2], storages)
	if err != nil {
		return nil, err
	}
	return &archive{objects[1], func(s *storage) ([]byte, error) {
		data := make([]byte, s.count*s.element.size)
		_, err := file.ReadAt(data, offsets[s.key])
		return data, err
	}}, nil
}

// legacyStorages finds where each storage's values are, from offset at to the file's end at size.
func legacyStorages(file io.ReaderAt, at, size int64, keys any, storages *storageList) (map[string]int64, error) {
	list, ok := keys.(*types.List)
	if !ok || list.Len() != len(storages.order) {
		return nil, errors.New("the list of storages is damaged")
	}
	offsets := map[string]int64{}
	for _, key := range *list {
		name, _ := key.(string)
		s := storages.byKey[name]
		if _, twice := offsets[name]; s == nil || twice {
			return nil, fmt.Errorf("the list of storages names %.40q, which the object does not use, or twice", name)
		}
		var raw [8]byte
		if _, err := file.ReadAt(raw[:], at); err != nil {
			return nil, errors.New("it is truncated: a storage is missing")
		}
		count, bytes := int64(binary.LittleEndian.Uint64(raw[:])), int64(s.count)*int64(s.element.size)
		if count != int64(s.count) {
			return nil, fmt.Errorf("storage %.20q has %d values, the object declares %d", name, count, s.count)
		}
		if at += 8; bytes > size-at {
			return nil, fmt.Errorf("it is truncated: storage %.20q needs %d bytes, %d are left", name, bytes, size-at)
		}
		offsets[name] = at
		at += bytes
	}
	if at != size {
		return nil, fmt.Errorf("%d bytes follow its last storage", size-at)
	}
	return offsets, nil
}

package dataset

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// member is a file below a directory, or in an archive there.
type member struct {
	name         string // slash-separated, "train/n01440764/n01440764_18.JPEG"
	archive      string // the tar archive that has it; empty for a file
	offset, size int64  // in the archive
}

// maxMembers bounds a listing; ImageNet-21k has 14 million images.
const maxMembers = 50_000_000

// read returns the file's content, in buffer if that is large enough.
func (m member) read(root string, buffer []uint8) ([]uint8, error) {
	f, info, err := openFile(filepath.Join(root, filepath.FromSlash(cmp.Or(m.archive, m.name))))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := info.Size()
	if m.archive != "" {
		size = m.size
	}
	if size > maxImageBytes {
		return nil, fmt.Errorf("it has %d bytes; up to %d are read", size, maxImageBytes)
	}
	buffer = slices.Grow(buffer[:0], int(size))[:size]
	if _, err := f.ReadAt(buffer, m.offset); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return buffer, nil
}

// text reads a small text file, such as a list of labels.
func (m member) text(root string) (string, error) {
	data, err := m.read(root, nil)
	return string(data), err
}

// listing is what is found below a directory or in an archive.
type listing struct {
	root    string
	members []member // files
	empty   []string // directories of classes without files
}

// list finds the files of train and val below a directory, or in a tar archive.
func list(root string) (listing, error) {
	info, err := os.Stat(root)
	if err != nil {
		return listing{}, err
	}
	if info.IsDir() {
		return listDir(root)
	}
	l := listing{root: filepath.Dir(root)}
	if err := l.openTar(filepath.Base(root), ""); err != nil {
		return listing{}, err
	}
	l.unwrap()
	return l, nil
}

// listDir descends into train and val, and into the only directory of one that has neither.
func listDir(root string) (listing, error) {
	for range 4 {
		entries, err := os.ReadDir(root)
		if err != nil {
			return listing{}, err
		}
		var dirs []string
		for _, e := range entries {
			if isDir(root, e) && !strings.HasPrefix(e.Name(), ".") {
				dirs = append(dirs, e.Name())
			}
		}
		if !slices.Contains(dirs, "train") && !slices.Contains(dirs, "val") && len(dirs) == 1 {
			root = filepath.Join(root, dirs[0])
			continue
		}
		l := listing{root: root}
		for _, e := range entries {
			if !isDir(root, e) && isLabelFile(e.Name()) {
				l.members = append(l.members, member{name: e.Name()})
			}
		}
		for _, split := range []string{"train", "val"} {
			if slices.Contains(dirs, split) {
				err = l.walk(split, 0)
			} else if archive := "ILSVRC2012_img_" + split + ".tar"; isFile(filepath.Join(root, archive)) { // as published
				err = l.openTar(archive, split)
			}
			if err != nil {
				return listing{}, err
			}
		}
		return l, nil
	}
	return listing{root: root}, nil
}

// walk adds the files below a directory, one level deeper than any layout, so that [arrange] sees what is too deep.
func (l *listing) walk(dir string, depth int) error {
	entries, err := os.ReadDir(filepath.Join(l.root, filepath.FromSlash(dir)))
	if err != nil {
		return err
	}
	files := len(l.members)
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case !isDir(filepath.Join(l.root, filepath.FromSlash(dir)), e):
			l.members = append(l.members, member{name: name})
		case depth < 3:
			if err := l.walk(name, depth+1); err != nil {
				return err
			}
		}
	}
	if depth == 1 && len(l.members) == files {
		l.empty = append(l.empty, dir)
	}
	if len(l.members) > maxMembers {
		return fmt.Errorf("%s has more than %d files", l.root, maxMembers)
	}
	return nil
}

// isDir says whether an entry is a directory, or a link to one.
func isDir(dir string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(filepath.Join(dir, e.Name()))
	return err == nil && info.IsDir()
}

// openTar adds the files of an archive in the root, under a folder.
func (l *listing) openTar(archive, folder string) error {
	at := filepath.Join(l.root, archive)
	f, info, err := openFile(at)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.addTar(io.NewSectionReader(f, 0, info.Size()), 0, archive, folder, true); err != nil {
		return fmt.Errorf("%s is no directory, and cannot be read as a tar archive: %w (a compressed one must be "+
			"uncompressed first, since its images are read in any order)", at, err)
	}
	slices.SortFunc(l.members, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	return nil
}

// addTar adds the files of an archive that starts at that offset of the outer one. An archive in it, such as ImageNet's
// of each class, counts as a folder.
func (l *listing) addTar(r *io.SectionReader, offset int64, outer, folder string, nested bool) error {
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Join(folder, path.Clean("/" + header.Name)[1:])
		if header.Typeflag != tar.TypeReg || strings.HasPrefix(path.Base(name), ".") {
			continue
		}
		at, err := r.Seek(0, io.SeekCurrent) // where its content starts
		if err != nil {
			return err
		}
		if header.Size < 0 || at > r.Size()-header.Size {
			return fmt.Errorf("%s: its %d bytes are not all there", header.Name, header.Size)
		}
		if class, ok := strings.CutSuffix(name, ".tar"); ok && nested {
			if err := l.addTar(io.NewSectionReader(r, at, header.Size), offset+at, outer, class, false); err != nil {
				return fmt.Errorf("%s: %w", header.Name, err)
			}
			continue
		}
		if l.members = append(l.members, member{name, outer, offset + at, header.Size}); len(l.members) > maxMembers {
			return fmt.Errorf("it has more than %d files", maxMembers)
		}
	}
}

// unwrap takes the folders around train and val off the names.
func (l *listing) unwrap() {
	for len(l.members) > 0 {
		top, _, ok := strings.Cut(l.members[0].name, "/")
		other := func(m member) bool { return !strings.HasPrefix(m.name, top+"/") }
		if !ok || top == "train" || top == "val" || slices.ContainsFunc(l.members, other) {
			return
		}
		for i := range l.members {
			l.members[i].name = l.members[i].name[len(top)+1:]
		}
	}
}

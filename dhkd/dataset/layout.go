package dataset

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"
)

// layout is what an image folder's files are: the images of train and val, with the classes in sorted order, by which
// they have their labels.
type layout struct {
	root    string
	classes []string
	train   images
	val     images
}

// images are files with their labels, in rounds: one of each class, then the next of each.
type images struct {
	members []member
	labels  []int32
}

// labelled is a file of a class.
type labelled struct {
	member
	class string
}

// layouts says what is understood.
const layouts = "known layouts: train/CLASS/IMAGE, or train/CLASS/images/IMAGE as in Tiny-ImageNet; val/CLASS/IMAGE, or val/IMAGE or " +
	"val/images/IMAGE with the classes in val_annotations.txt, val_labels.txt (a line \"IMAGE CLASS\" each) or Kaggle's LOC_val_solution.csv"

// arrange finds out which files are which class's images, from their names and the file of the validation labels.
func arrange(l listing) (layout, error) {
	fail := func(format string, args ...any) (layout, error) {
		return layout{}, fmt.Errorf("%s: %s; %s", l.root, fmt.Sprintf(format, args...), layouts)
	}
	var train, val []labelled
	var flat []member // validation images without a class
	var labels *member
	for i, m := range l.members {
		parts := strings.Split(m.name, "/")
		if isLabelFile(parts[len(parts)-1]) && parts[0] != "train" {
			labels = &l.members[i]
			continue
		}
		if parts[0] != "train" && parts[0] != "val" {
			continue
		}
		isImage, err := imageName(m.name)
		if err != nil {
			return layout{}, fmt.Errorf("%s: %w", l.root, err)
		}
		deep := len(parts) == 4 && parts[2] == "images"
		switch {
		case !isImage:
		case parts[0] == "train" && (len(parts) == 3 || deep):
			train = append(train, labelled{m, parts[1]})
		case parts[0] == "val" && (len(parts) == 2 || len(parts) == 3 && parts[1] == "images"):
			flat = append(flat, m)
		case parts[0] == "val" && (len(parts) == 3 || deep):
			val = append(val, labelled{m, parts[1]})
		default:
			return fail("%s is in no class's folder", m.name)
		}
	}
	switch {
	case len(train) == 0:
		return fail("no training images are found")
	case len(l.empty) > 0:
		return fail("%s has no images", l.empty[0])
	case len(flat) > 0 && len(val) > 0:
		return fail("some validation images are in classes' folders (%s), others are not (%s)", val[0].name, flat[0].name)
	case len(flat) > 0 && labels == nil:
		return fail("the validation images are in no classes' folders, and no file has their labels")
	case len(flat)+len(val) == 0:
		return fail("no validation images are found")
	}
	a := layout{root: l.root, classes: classesOf(train)}
	for _, c := range a.classes {
		if len(c) > 255 || strings.IndexFunc(c, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) >= 0 {
			return fail("the class %.80q has no printable name", c)
		}
	}
	if labels != nil && len(flat) > 0 {
		text, err := labels.text(l.root)
		if err != nil {
			return layout{}, fmt.Errorf("%s: cannot read %s: %w", l.root, labels.name, err)
		}
		if val, err = label(flat, strings.NewReader(text), a.classes); err != nil {
			return layout{}, fmt.Errorf("%s: %s: %w", l.root, labels.name, err)
		}
	}
	if of := classesOf(val); !slices.Equal(of, a.classes) {
		missing, extra := without(a.classes, of), without(of, a.classes)
		return layout{}, fmt.Errorf("%s: train and val have not the same classes, and labels are places in the sorted list of them: "+
			"val lacks %s and has %s that train lacks; complete or remove them", l.root, some(missing), some(extra))
	}
	a.train, a.val = a.rounds(train), a.rounds(val)
	return a, nil
}

// isLabelFile says whether a file has the classes of the validation images.
func isLabelFile(name string) bool {
	return name == "val_annotations.txt" || name == "val_labels.txt" || name == "LOC_val_solution.csv"
}

// imageName says whether a file is an image by its name, and refuses those of formats that are not read: that they are left
// out must not go unnoticed.
func imageName(name string) (bool, error) {
	switch strings.ToLower(path.Ext(name)) {
	case ".jpeg", ".jpg", ".png":
		return true, nil
	case ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".avif", ".jp2":
		return false, fmt.Errorf("%s: images of this format are not read: convert them to JPEG or PNG", name)
	}
	return false, nil
}

func classesOf(all []labelled) []string {
	classes := map[string]bool{}
	for _, f := range all {
		classes[f.class] = true
	}
	names := make([]string, 0, len(classes))
	for c := range classes {
		names = append(names, c)
	}
	slices.Sort(names)
	return names
}

// label gives the images their classes from lines "IMAGE CLASS ...", between which are blanks or tabs, or from lines
// "ID,CLASS ..." after a heading. Each image must have one.
func label(flat []member, labels io.Reader, classes []string) ([]labelled, error) {
	of := map[string]string{}
	lines := bufio.NewScanner(labels)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line == "ImageId,PredictionString" {
			continue
		}
		fields := strings.Fields(strings.Replace(line, ",", " ", 1))
		if len(fields) < 2 {
			return nil, fmt.Errorf("line %d: want the name of an image and its class, found %.80q", n, line)
		}
		image, class := withoutExt(fields[0]), fields[1]
		if _, ok := slices.BinarySearch(classes, class); !ok {
			return nil, fmt.Errorf("line %d: train has no class %.80q (classes are given by the names of their folders, not by "+
				"numbers)", n, class)
		}
		if old, ok := of[image]; ok && old != class {
			return nil, fmt.Errorf("line %d: %.80s is a %s and, on a line before, a %s", n, image, class, old)
		}
		of[image] = class
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	all := make([]labelled, len(flat))
	for i, m := range flat {
		class, ok := of[withoutExt(path.Base(m.name))]
		if !ok {
			return nil, fmt.Errorf("it has no class for %s: add a line \"%s CLASS\"", m.name, path.Base(m.name))
		}
		all[i] = labelled{m, class}
	}
	return all, nil
}

func withoutExt(name string) string {
	if isImage, _ := imageName(name); isImage {
		return strings.TrimSuffix(name, path.Ext(name))
	}
	return name
}

// rounds orders images by their place in their class, then by class.
func (a layout) rounds(all []labelled) images {
	slices.SortFunc(all, func(a, b labelled) int { return cmp.Compare(a.name, b.name) })
	round := make([]int, len(all))
	labels := make([]int, len(all))
	seen := make([]int, len(a.classes))
	order := make([]int, len(all))
	for i, f := range all {
		labels[i], _ = slices.BinarySearch(a.classes, f.class)
		round[i], order[i] = seen[labels[i]], i
		seen[labels[i]]++
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(round[i], round[j]), cmp.Compare(labels[i], labels[j]))
	})
	m := images{make([]member, len(all)), make([]int32, len(all))}
	for k, i := range order {
		m.members[k], m.labels[k] = all[i].member, int32(labels[i])
	}
	return m
}

// digest identifies the names of the files and their labels, not their content.
func (m images) digest() string {
	h := sha256.New()
	for i, f := range m.members {
		fmt.Fprintf(h, "%q %d\n", f.name, m.labels[i])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// without is what of sorted a is not in sorted b.
func without(a, b []string) (rest []string) {
	for _, s := range a {
		if _, ok := slices.BinarySearch(b, s); !ok {
			rest = append(rest, s)
		}
	}
	return rest
}

// some names the first of a list.
func some(names []string) string {
	switch n := len(names); {
	case n == 0:
		return "none"
	case n > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), n-3)
	}
	return strings.Join(names, ", ")
}

package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/fetch"
)

// ErrNotFound is wrapped by errors that say that a data set is not on this machine.
var ErrNotFound = fetch.ErrNotFound

// ErrChecksum is wrapped by errors that say that a file is not the published one.
var ErrChecksum = fetch.ErrChecksum

// Options says what is loaded, and from where. The zero value is everything, from where it is found.
type Options struct {
	Train, Test int    // images to load, the first so many; 0 = all
	Seed        uint64 // of the pairing of fashion-pairs-100; unused by the others
	View        View   // what is seen of the images of a folder; unused by the others
	SkipBad     bool   // images of a folder that cannot be read are skipped and named, see [Files.Bad]; else they are errors
	// Dir is a directory or file of the user's to read in place of the known places: the idx files, compressed or
	// not; CIFAR-100's archive, the directory that was unpacked from it, or a .bin file, whose images are all for
	// training; a folder of images, a folder around it, or a tar archive of it. A file of the published size must have
	// the published digest (none is known for .bin files, nor for images); others are taken as the user's own data in
	// the same format.
	Dir string
	// Fetch downloads to the cache what is not on this machine.
	Fetch bool
	// Progress, unless nil, is called during a download with the bytes done so far, from one goroutine at a time.
	Progress func(file string, done, total int64)
}

// Info describes a data set.
type Info struct {
	Name    string `json:"name"`
	What    string `json:"what"`    // one line
	Classes int    `json:"classes"` // 0 = those of the user's data
	Train   int    `json:"train"`   // images
	Test    int    `json:"test"`
	Shape   [3]int `json:"shape"` // channels, height, width
	Bytes   int64  `json:"bytes"` // of the download
	Licence string `json:"licence"`
	Home    string `json:"home"`  // URL
	Found   string `json:"found"` // the directory that its files are in, unread; empty when not on this machine
	Get     string `json:"get"`   // how to get it
}

// Report is what [Verify] found.
type Report struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Files []File `json:"files"`
}

// File is one source file.
type File struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	SHA256  string `json:"sha256"`            // of the content, uncompressed unless Name ends in gz; empty when unreadable
	Want    string `json:"want"`              // the published digest; empty for the user's own, or where none is known
	Problem string `json:"problem,omitempty"` // empty when all is well
	// Of a folder of images, whose SHA256 is that of the files' names.
	Images  int `json:"images,omitempty"`
	Classes int `json:"classes,omitempty"`
}

// Load reads the data set of that name ("fashion-mnist", "fashion-pairs-100", "cifar-100", "imagenet", "image-folder") and
// checks every file that it reads; of a folder of images it reads the names alone, see [Verify]. Errors name the file and
// what to do; they wrap [ErrNotFound] and [ErrChecksum] where these apply.
func Load(ctx context.Context, name string, o Options) (*Set, error) {
	c, err := lookup(name)
	if err != nil {
		return nil, err
	}
	if o.Train < 0 || o.Test < 0 {
		return nil, fmt.Errorf("%s: numbers of images are negative: train %d, test %d", name, o.Train, o.Test)
	}
	place, err := c.find(o)
	if errors.Is(err, ErrNotFound) && o.Fetch {
		place, err = c.fetch(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	set, err := c.load(ctx, place, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return set, nil
}

// Verify reads all files of a data set and compares them with the published digests. The error is that of the first
// file that is not well; the report has them all.
func Verify(ctx context.Context, name string, o Options) (Report, error) {
	c, err := lookup(name)
	if err != nil {
		return Report{Name: name}, err
	}
	place, err := c.find(o)
	if err != nil {
		return Report{Name: name}, err
	}
	return c.report(ctx, place)
}

// Fetch downloads a data set to the cache unless it is on this machine, and verifies it. Several processes may fetch
// at once: one downloads, the others wait for it. A file that is there is never replaced.
func Fetch(ctx context.Context, name string, o Options) (Report, error) {
	c, err := lookup(name)
	if err != nil {
		return Report{Name: name}, err
	}
	place, err := c.find(o)
	if errors.Is(err, ErrNotFound) && o.Dir == "" {
		place, err = c.fetch(ctx, o)
	}
	if err != nil {
		return Report{Name: name}, err
	}
	return c.report(ctx, place)
}

// List describes all data sets and says where each is found. It reads no file.
func List() []Info {
	infos := make([]Info, len(collections))
	for i, c := range collections {
		infos[i] = c.Info
		infos[i].Get = c.howToGet()
		for _, s := range c.sources {
			infos[i].Bytes += s.size
		}
		if place, err := c.find(Options{}); err == nil {
			infos[i].Found = place.path
		}
	}
	return infos
}

// CacheDir is the directory that data sets are downloaded to: $DHKD_CACHE/data where that variable is set, else
// dhkd/data in the user's cache directory. It need not exist.
func CacheDir() (string, error) { return fetch.CacheDir("data") }

// collection is a data set that can be loaded.
type collection struct {
	Info
	sources []source
	folder  bool   // of images, without published files
	system  string // where packages of an operating system put the files
	install string // the command that puts them there
	load    func(context.Context, place, Options) (*Set, error)
	verify  func(context.Context, place) ([]File, error)
}

// place is where files were found.
type place struct {
	path string
	own  bool // the user's own directory or file: may be data of the same format that is not the published
}

var collections = []*collection{
	fashionCollection(fashionInfo, loadFashion),
	fashionCollection(pairsInfo, loadPairs),
	{Info: cifarInfo, sources: []source{cifarSource}, load: loadCIFAR, verify: verifyCIFAR},
	folderCollection(imageNetInfo),
	folderCollection(folderInfo),
}

// newSet is a set without its images.
func newSet(info Info, files []File) *Set {
	set := &Set{Name: info.Name, Classes: info.Classes, SHA256: make(map[string]string, len(files))}
	set.Channels, set.Height, set.Width = info.Shape[0], info.Shape[1], info.Shape[2]
	for _, f := range files {
		set.SHA256[f.Name] = f.SHA256
	}
	return set
}

func lookup(name string) (*collection, error) {
	var names []string
	for _, c := range collections {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return nil, fmt.Errorf("no data set is called %q; there are %s", name, strings.Join(names, ", "))
}

// find says where the files are.
func (c *collection) find(o Options) (place, error) {
	if o.Dir != "" {
		if _, err := os.Stat(o.Dir); err != nil {
			return place{}, fmt.Errorf("%s: %w", c.Name, err)
		}
		return place{path: o.Dir, own: true}, nil
	}
	if c.system != "" && c.isIn(c.system) {
		return place{path: c.system}, nil
	}
	cache, err := CacheDir()
	if err != nil {
		return place{}, err
	}
	if c.folder {
		cache = filepath.Join(cache, c.Name)
	}
	if c.isIn(cache) {
		return place{path: cache}, nil
	}
	return place{}, fmt.Errorf("%s is %w: %s", c.Name, ErrNotFound, c.howToGet())
}

func (c *collection) isIn(dir string) bool {
	if c.folder {
		info, err := os.Stat(dir)
		return err == nil && info.IsDir()
	}
	for _, s := range c.sources {
		if !isFile(filepath.Join(dir, s.name)) {
			return false
		}
	}
	return true
}

// howToGet says how to come by the data set, in one line.
func (c *collection) howToGet() string {
	ways := c.waysOffline()
	if !c.folder {
		ways = append(ways, "dhkd data fetch "+c.Name)
	}
	return strings.Join(ways, ", or ")
}

func (c *collection) waysOffline() (ways []string) {
	if c.install != "" {
		ways = append(ways, c.install+" (Debian, Ubuntu)")
	}
	var names []string
	for _, s := range c.sources {
		names = append(names, s.name)
	}
	cache, err := CacheDir()
	if err != nil {
		cache = "$DHKD_CACHE/data"
	}
	if c.folder {
		return append(ways, "say where its folder is with --data PATH", "link it to "+filepath.Join(cache, c.Name))
	}
	return append(ways, fmt.Sprintf("put %s into %s", strings.Join(names, ", "), cache))
}

func (c *collection) report(ctx context.Context, at place) (Report, error) {
	files, err := c.verify(ctx, at)
	if err != nil {
		err = fmt.Errorf("%s: %w", c.Name, err)
	}
	return Report{Name: c.Name, Path: at.path, Files: files}, err
}

package teachers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/fetch"
)

const (
	maxFile    = 2 << 30 // bytes of a file of weights
	maxArchive = 8 << 30
)

// ErrNotFound is wrapped by errors that say that a teacher is neither on this machine nor could be fetched.
var ErrNotFound = fetch.ErrNotFound

// Options say how a reference is resolved.
type Options struct {
	Offline bool // download nothing
	// Progress, unless nil, is called during a download with the bytes done so far and their total, 0 if it is not known.
	Progress func(file string, done, total int64)
}

// Resolved is a file of weights on this machine.
type Resolved struct {
	Reference string   // as it was given
	Path      string   // of the file
	SHA256    string   // of the file
	Teacher   *Teacher // the list's entry; nil for a file that is not of the list
}

// Resolve finds the file that a reference names, and downloads it where that is needed. References are
//
//   - those of the list, "crd:resnet32x4" (see [List]);
//   - files of the Hugging Face hub, "hf://organisation/repository/file" with "@revision" at the end or not; one that is in
//     the hub's cache already is used as it is. HF_ENDPOINT, HF_HOME, HF_HUB_CACHE and HF_TOKEN are those of Python's
//     huggingface_hub;
//   - paths of files.
//
// A file that the list knows by address or SHA-256 gets its entry. DHKD_MIRROR, if set, is an address whose copies are
// tried first: https://host/path is looked for at $DHKD_MIRROR/host/path. What is downloaded is checked before it is used
// and then stays in the cache, $DHKD_CACHE/teachers.
func Resolve(ctx context.Context, ref string, o Options) (*Resolved, error) {
	list, err := List()
	if err != nil {
		return nil, err
	}
	r := &Resolved{Reference: ref, Path: ref, Teacher: find(list, ref)}
	switch {
	case r.Teacher != nil:
		r.Path, err = r.Teacher.get(ctx, o)
	case strings.HasPrefix(ref, hubScheme):
		i := slices.IndexFunc(list, func(t Teacher) bool { return slices.Contains(t.URLs, ref) })
		if i >= 0 {
			r.Teacher = &list[i]
		}
		r.Path, err = getHub(ctx, ref, o)
	case scheme.MatchString(ref):
		return nil, unknown(ref, list)
	}
	if err != nil {
		return nil, fmt.Errorf("teacher %s: %w", ref, err)
	}
	if r.SHA256, err = fileSHA256(ctx, r.Path); err != nil {
		return nil, fmt.Errorf("teacher %s: %w", ref, err)
	}
	if r.Teacher == nil {
		if i := slices.IndexFunc(list, func(t Teacher) bool { return t.SHA256 == r.SHA256 }); i >= 0 {
			r.Teacher = &list[i]
		}
	} else if want := r.Teacher.digest(); !strings.HasPrefix(r.SHA256, want) {
		return nil, fmt.Errorf("teacher %s: %s has the %w %s, that of the published file is or begins with %s: move it "+
			"away, and it is fetched anew", ref, r.Path, fetch.ErrChecksum, r.SHA256, want)
	}
	return r, nil
}

// scheme is the beginning of a reference that is no path: longer than the letter of a drive.
var scheme = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.-]+:`)

func unknown(ref string, list []Teacher) error {
	if httpScheme.MatchString(ref) {
		return fmt.Errorf("teacher %.200q: download it, and give the path of the file", ref)
	}
	var known []string
	for _, t := range list {
		if strings.EqualFold(t.Reference, ref) {
			return fmt.Errorf("no teacher is called %q; did you mean %s?", ref, t.Reference)
		}
		known = append(known, t.Reference)
	}
	return fmt.Errorf("no teacher is called %.100q: give the path of a file, hf://organisation/repository/file, or one "+
		"of %s", ref, strings.Join(known, ", "))
}

// Cached is where the teacher's file is on this machine, or "". Nothing is read or downloaded.
func (t *Teacher) Cached() string {
	for _, u := range t.URLs {
		if strings.HasPrefix(u, hubScheme) {
			if file, err := parseHub(u); err == nil {
				if path := file.cached(); path != "" {
					return path
				}
			}
		}
	}
	if path, err := t.path(); err == nil && isFile(path) {
		return path
	}
	return ""
}

// path is where the file is kept. Its name changes with what the entry says of it, and it can be put there by hand.
func (t *Teacher) path() (string, error) {
	dir, err := fetch.CacheDir("teachers")
	if err != nil {
		return "", err
	}
	from := sha256.Sum256([]byte(strings.Join(append(slices.Clone(t.URLs), t.Member, t.Page, t.digest()), "\n")))
	return filepath.Join(dir, strings.ReplaceAll(t.Reference, ":", "-")+"-"+hex.EncodeToString(from[:4])+".pth"), nil
}

// get returns the teacher's file, and fetches it where it is not there.
func (t *Teacher) get(ctx context.Context, o Options) (string, error) {
	if path := t.Cached(); path != "" {
		return path, nil
	}
	path, err := t.path()
	if err != nil {
		return "", err
	}
	if len(t.URLs) == 0 {
		return "", fmt.Errorf("%w, and its address is not known: download it from %s and put it at %s, or give its path",
			ErrNotFound, t.Page, path)
	}
	if o.Offline {
		return "", fmt.Errorf("%w, and downloads are off%s", ErrNotFound, t.otherwise(path, path))
	}
	lock, err := fetch.Lock(ctx, filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("cannot keep it in %s: %w; set DHKD_CACHE to a directory that can be written",
			filepath.Dir(path), err)
	}
	defer lock.Close()
	if path := t.Cached(); path != "" { // from the process that held the lock
		return path, nil
	}
	var problems []string
	for _, u := range t.URLs {
		if strings.HasPrefix(u, hubScheme) {
			found, err := getHub(ctx, u, o)
			if err == nil || ctx.Err() != nil {
				return found, err
			}
			problems = append(problems, err.Error())
		}
	}
	byHand := path
	if urls := t.addresses(); len(urls) > 0 {
		file := fetch.File{Name: t.Reference, Limit: maxFile, SHA256: t.digest(), URLs: urls, Progress: o.Progress}
		if t.Member == "" {
			err = file.To(ctx, path)
		} else {
			file.SHA256, file.Limit = "", maxArchive
			byHand = filepath.Join(filepath.Dir(path), archiveName(t.URLs[0]))
			err = t.fromArchive(ctx, file, byHand, path)
		}
		if err == nil || ctx.Err() != nil {
			return path, err
		}
		problems = append(problems, err.Error())
	}
	return "", fmt.Errorf("%w, and it cannot be fetched: %s%s", ErrNotFound, strings.Join(problems, "; "),
		t.otherwise(byHand, path))
}

// otherwise says what helps where the file cannot be fetched.
func (t *Teacher) otherwise(byHand, path string) string {
	if t.Member != "" && byHand != path {
		byHand = fmt.Sprintf("%s (the archive) or %s (its %s)", byHand, path, t.Member)
	}
	page := ""
	if t.Page != "" {
		page = " from " + t.Page
	}
	return fmt.Sprintf("; get it by hand%s and put it at %s, or give the path of a file, or train a %s: dhkd train "+
		"EXPERIMENT --run NAME", page, byHand, t.Model)
}

// addresses are the entry's http and https ones, copies of DHKD_MIRROR first.
func (t *Teacher) addresses() (urls []string) {
	mirror := strings.TrimSuffix(os.Getenv("DHKD_MIRROR"), "/")
	var originals []string
	for _, u := range t.URLs {
		parsed, err := url.Parse(u)
		if err != nil || strings.HasPrefix(u, hubScheme) {
			continue
		}
		if mirror != "" {
			urls = append(urls, mirror+"/"+parsed.Host+parsed.EscapedPath())
		}
		originals = append(originals, u)
	}
	return append(urls, originals...)
}

// fromArchive takes the member from the archive, which stays in the cache for the teachers that are in it too. The lock is
// held.
func (t *Teacher) fromArchive(ctx context.Context, file fetch.File, archive, path string) error {
	file.Name = filepath.Base(archive)
	if !isFile(archive) {
		if err := file.To(ctx, archive); err != nil {
			return err
		}
	}
	if err := extract(ctx, archive, t.Member, path); err != nil {
		return fmt.Errorf("%w (move the archive away, and it is fetched anew)", err)
	}
	return nil
}

// archiveName is the file name of an archive in the cache.
func archiveName(url string) string {
	from := sha256.Sum256([]byte(url))
	name := path.Base(strings.SplitN(url, "?", 2)[0])
	return hex.EncodeToString(from[:4]) + "-" + strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`\/:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func fileSHA256(ctx context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: there is no such file", err)
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxFile:
		return "", fmt.Errorf("%s has %d bytes, the limit is %d", path, info.Size(), int64(maxFile))
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, f}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// contextReader ends with the context's error when that is done.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}

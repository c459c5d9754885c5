package teachers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gomlx/go-huggingface/hub"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/fetch"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

const hubScheme = "hf://"

// infoTimeout is how long the hub may take to describe a repository.
const infoTimeout = 60 * time.Second

// hubFile is a file of a repository of models.
type hubFile struct {
	repo, name, revision string
}

var (
	hubRepo     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)
	hubRevision = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)
	commitHash  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	blobName    = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
)

// parseHub reads hf://organisation/repository/file[@revision].
func parseHub(ref string) (f hubFile, err error) {
	rest := strings.TrimPrefix(ref, hubScheme)
	f.revision = "main"
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest, f.revision = rest[:i], rest[i+1:]
	}
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) == 3 {
		f.repo, f.name = parts[0]+"/"+parts[1], parts[2]
	}
	clean := f.name != "" && path.Clean("/"+f.name) == "/"+f.name && !strings.ContainsAny(f.name, "\\?#%") &&
		!strings.ContainsFunc(f.name, func(r rune) bool { return r < ' ' })
	if !clean || !hubRepo.MatchString(f.repo) || !hubRevision.MatchString(f.revision) ||
		strings.Contains(f.repo+f.revision, "..") {
		return f, fmt.Errorf("%.200q is not of the form hf://organisation/repository/file or .../file@revision", ref)
	}
	return f, nil
}

// hubCache is the directory that Python's huggingface_hub uses too.
func hubCache() string {
	if dir := os.Getenv("HF_HUB_CACHE"); dir != "" {
		return dir
	}
	if home := os.Getenv("HF_HOME"); home != "" {
		return filepath.Join(home, "hub")
	}
	return hub.DefaultCacheDir()
}

// hubToken is the user's, from the environment or from what "hf auth login" stored.
func hubToken() string {
	if token := os.Getenv("HF_TOKEN"); token != "" {
		return token
	}
	file := os.Getenv("HF_TOKEN_PATH")
	if file == "" {
		home := os.Getenv("HF_HOME")
		if home == "" {
			home = filepath.Dir(hub.DefaultCacheDir())
		}
		file = filepath.Join(home, "token")
	}
	token, _ := os.ReadFile(file)
	return strings.TrimSpace(string(token))
}

// dir is the repository's directory in the cache.
func (f hubFile) dir() string {
	return filepath.Join(hubCache(), "models--"+strings.ReplaceAll(f.repo, "/", hub.RepoIdSeparator))
}

func (f hubFile) snapshot(commit string) string {
	return filepath.Join(f.dir(), "snapshots", commit, filepath.FromSlash(f.name))
}

// cached is the file's path in the cache, or "". The commit of a branch is the one that Python, or else go-huggingface,
// noted last.
func (f hubFile) cached() string {
	commits := []string{f.revision}
	if ref, err := os.ReadFile(filepath.Join(f.dir(), "refs", filepath.FromSlash(f.revision))); err == nil {
		commits = append(commits, strings.TrimSpace(string(ref)))
	}
	if info, err := os.ReadFile(filepath.Join(f.dir(), "info", filepath.FromSlash(f.revision))); err == nil {
		var described hub.RepoInfo
		if json.Unmarshal(info, &described) == nil {
			commits = append(commits, described.CommitHash)
		}
	}
	for _, commit := range commits {
		if path := f.snapshot(commit); commitHash.MatchString(commit) && isFile(path) {
			return path
		}
	}
	return ""
}

// getHub returns the path of a file of the hub. go-huggingface says what the repository has; the file itself comes by our
// own download, which has limits, stops with ctx, and compares the SHA-256. It is stored as Python stores it.
func getHub(ctx context.Context, ref string, o Options) (string, error) {
	f, err := parseHub(ref)
	if err != nil {
		return "", err
	}
	if path := f.cached(); path != "" {
		return path, nil
	}
	if o.Offline {
		return "", fmt.Errorf("%w (%s), and downloads are off", ErrNotFound, f.dir())
	}
	lock, err := fetch.Lock(ctx, f.dir())
	if err != nil {
		return "", fmt.Errorf("cannot keep it in %s: %w; set HF_HUB_CACHE to a directory that can be written", f.dir(),
			err)
	}
	defer lock.Close()
	if path := f.cached(); path != "" {
		return path, nil
	}
	repo := hub.New(f.repo).WithRevision(f.revision).WithCacheDir(hubCache()).WithAuth(hubToken())
	repo.Verbosity = 0
	info, err := describe(ctx, repo)
	if err != nil {
		return "", fmt.Errorf("%w, and the hub (HF_ENDPOINT, or else huggingface.co) does not tell what %s at %s has: %w; a "+
			"repository that is not public needs HF_TOKEN", ErrNotFound, f.repo, f.revision, err)
	}
	file, blob, err := f.lookUp(info)
	if err != nil {
		return "", err
	}
	file.URLs, file.Token, file.Progress = []string{f.url(info.CommitHash)}, hubToken(), o.Progress
	target := filepath.Join(f.dir(), "blobs", blob)
	if !isFile(target) {
		if err := file.To(ctx, target); err != nil {
			return "", fmt.Errorf("%w, and it cannot be fetched: %w", ErrNotFound, err)
		}
	}
	return f.store(info.CommitHash, target)
}

// describe asks the hub. The call knows no context, so that it may go on behind ours.
func describe(ctx context.Context, repo *hub.Repo) (*hub.RepoInfo, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, infoTimeout, fmt.Errorf("no answer for %v", infoTimeout))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- repo.DownloadInfo(true) }()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case err := <-done:
		if err != nil {
			return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
		}
		return repo.Info(), nil
	}
}

// lookUp finds the file in the repository's description, which is as little trusted as any answer.
func (f hubFile) lookUp(info *hub.RepoInfo) (file fetch.File, blob string, err error) {
	if !commitHash.MatchString(info.CommitHash) {
		return file, "", fmt.Errorf("the hub gives %.80q as the commit of %s", info.CommitHash, f.repo)
	}
	var names []string
	for _, sibling := range info.Siblings {
		if sibling == nil {
			continue
		}
		if sibling.Name != f.name {
			names = append(names, fmt.Sprintf("%.100q", sibling.Name))
			continue
		}
		file = fetch.File{Name: path.Base(f.name), Size: sibling.Size, Limit: maxFile}
		blob = sibling.BlobID // Git's name of a small file; what the hub keeps as a large one has its SHA-256
		if sibling.LFS != nil {
			blob, file.SHA256 = sibling.LFS.SHA256, sibling.LFS.SHA256
			file.Size = sibling.LFS.Size
		}
		switch {
		case !blobName.MatchString(blob):
			return file, "", fmt.Errorf("the hub gives %.80q as the digest of %s", blob, f.name)
		case file.Size > maxFile:
			return file, "", fmt.Errorf("%s has %d bytes, the limit is %d", f.name, file.Size, int64(maxFile))
		}
		return file, blob, nil
	}
	return file, "", fmt.Errorf("%s at %s has no file %s; it has %s", f.repo, f.revision, f.name,
		strings.Join(names[:min(len(names), 20)], ", "))
}

// url is where the file is downloaded from. (go-huggingface's own function asks for the description a second time.)
func (f hubFile) url(commit string) string {
	endpoint := strings.TrimSuffix(os.Getenv("HF_ENDPOINT"), "/")
	if endpoint == "" {
		endpoint = "https://huggingface.co"
	}
	return fmt.Sprintf("%s/%s/resolve/%s/%s", endpoint, f.repo, commit, f.name)
}

// store links the file into the commit's snapshot and notes the branch's commit, as Python does.
func (f hubFile) store(commit, blob string) (string, error) {
	path := f.snapshot(commit)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	target, err := filepath.Rel(filepath.Dir(path), blob)
	if err != nil {
		return "", err
	}
	if err := os.Symlink(target, path); err != nil && !isFile(path) {
		return "", err
	}
	if commit != f.revision {
		ref := filepath.Join(f.dir(), "refs", filepath.FromSlash(f.revision))
		err = safefile.Write(ref, func(w io.Writer) error {
			_, err := io.WriteString(w, commit)
			return err
		})
	}
	return path, err
}

package nb

import (
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Cached is what fn returns, kept on disk (.cache/notebooks of the checkout) so that a long cell is quick the next
// time. The key names the result; inputs are all values that it depends on, of any type that has a JSON form: where
// they change it is computed anew. It does not notice that code has changed: remove the directory then, as
// notebooks/run.py --inplace does in effect, which never takes a result from it. T must be a type that encoding/gob can
// write.
func Cached[T any](b *Book, key string, inputs any, fn func() (T, error)) T {
	dir := filepath.Join("..", ".cache", "notebooks", b.name)
	v, err := cached(dir, key, inputs, fn)
	Check(err)
	return v
}

func cached[T any](dir, key string, inputs any, fn func() (T, error)) (v T, err error) {
	if os.Getenv(cacheVariable) == "off" {
		return fn()
	}
	text, err := json.Marshal(inputs)
	if err != nil {
		return v, fmt.Errorf("Cached(%q): the inputs: %w", key, err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%x.gob", sha256.Sum256(fmt.Appendf(nil, "%s\n%T\n%s", key, v, text))))
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		if gob.NewDecoder(f).Decode(&v) == nil {
			return v, nil
		} // what cannot be read is computed anew
		v = *new(T)
	}
	if v, err = fn(); err != nil {
		return v, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return v, err
	}
	f, err := os.CreateTemp(dir, ".*.tmp")
	if err != nil {
		return v, err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	err = gob.NewEncoder(f).Encode(v)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return v, fmt.Errorf("Cached(%q): %w", key, err)
	}
	return v, os.Rename(f.Name(), path)
}

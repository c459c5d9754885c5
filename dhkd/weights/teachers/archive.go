package teachers

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

const (
	maxMembers  = 100_000
	maxUnpacked = 16 << 30 // bytes, all members together
	maxRatio    = 100      // of gzip, on the whole: weights compress to nine tenths
)

// extract writes one member of a tar archive, compressed with gzip or not, to a file. Nothing else of it is written: names
// of other members do no harm. The member must be a regular file and there once.
func extract(ctx context.Context, archive, member, to string) error {
	err := safefile.Write(to, func(w io.Writer) error {
		f, err := os.Open(archive)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		unpacked, err := unpack(bufio.NewReaderSize(contextReader{ctx, f}, 1<<20), info.Size())
		if err != nil {
			return err
		}
		return copyMember(w, tar.NewReader(unpacked), member)
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("archive %s: %w", archive, err)
	}
	return err
}

// unpack returns the tar within a file of that size.
func unpack(r *bufio.Reader, size int64) (io.Reader, error) {
	if start, _ := r.Peek(2); !bytes.Equal(start, []byte{0x1f, 0x8b}) {
		return r, nil
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return &limited{z, min(maxUnpacked, max(1<<20, size*maxRatio))}, nil
}

// limited fails where more comes than is credible.
type limited struct {
	io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return n, errors.New("it unpacks to far more than its size: this is no archive of weights")
	}
	return n, err
}

// copyMember reads the archive to its end, so that a member that is there twice, of which programs take the one or the
// other, does not pass.
func copyMember(w io.Writer, r *tar.Reader, member string) error {
	found := false
	var others []string
	for members := 0; ; members++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("it is damaged, or no tar archive: %w", err)
		}
		if members == maxMembers {
			return fmt.Errorf("it has more than %d members", maxMembers)
		}
		if name := strings.TrimPrefix(path.Clean(h.Name), "/"); name != member {
			if path.Base(name) == path.Base(member) && len(others) < 10 {
				others = append(others, fmt.Sprintf("%.100q", h.Name))
			}
			continue
		}
		switch {
		case h.Typeflag != tar.TypeReg:
			return fmt.Errorf("its %s is not a regular file", member)
		case found:
			return fmt.Errorf("it has %s twice", member)
		case h.Size > maxFile:
			return fmt.Errorf("its %s has %d bytes, the limit is %d", member, h.Size, int64(maxFile))
		}
		found = true
		if _, err := io.Copy(w, r); err != nil {
			return fmt.Errorf("its %s is damaged: %w", member, err)
		}
	}
	switch {
	case found:
		return nil
	case len(others) > 0:
		return fmt.Errorf("it has no %s, but %s", member, strings.Join(others, ", "))
	}
	return fmt.Errorf("it has no %s", member)
}

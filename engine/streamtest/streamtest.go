// Package streamtest gives tests the recorded BMP streams of the folder that BMP_DATA names, which is not part of the
// source: without it tests are skipped, and say so.
package streamtest

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Folder is where the recorded streams are; the test is skipped without it.
func Folder(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("BMP_DATA")
	if dir == "" {
		t.Skip("BMP_DATA does not name the folder of the recorded streams")
	}
	return dir
}

// Files are the streams of the folder, by their paths: *.bmp, packed or not. There is at least one.
func Files(t testing.TB) []string {
	t.Helper()
	dir := Folder(t)
	files, _ := filepath.Glob(filepath.Join(dir, "*.bmp*"))
	if len(files) == 0 {
		t.Fatalf("no streams in %s", dir)
	}
	return files
}

// Open opens a file of the folder, unpacked, until the end of the test.
func Open(t testing.TB, path string) io.Reader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	switch filepath.Ext(path) {
	case ".gz":
		r, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		return r
	case ".zst":
		r, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(1<<28))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	return f
}

// Read reads a file of the folder whole, unpacked.
func Read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := io.ReadAll(Open(t, path))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

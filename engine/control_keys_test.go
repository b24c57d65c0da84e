package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bmp/proto/control"
)

func TestKeysAreMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.keys")
	k, err := OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	first := k.List()
	if len(first) != 1 || first[0].Role != control.RoleAdmin || len(first[0].Secret) != 48 {
		t.Errorf("keys made: %+v", first)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", fi.Mode(), err)
	}
	again, err := OpenKeys(path)
	if err != nil || len(again.List()) != 1 || again.List()[0] != first[0] {
		t.Errorf("opened again: %+v, %v; want the same key", again.List(), err)
	}
	other, err := OpenKeys(filepath.Join(t.TempDir(), "control.keys"))
	if err != nil || other.List()[0] == first[0] {
		t.Errorf("two stations have one secret, %v", err)
	}
}

func TestKeysReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.keys")
	write := func(text string, mode fs.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("# ours\n\nadmin  first-secret-of-ours\n\tview second-secret-of-ours\n", 0o600)
	k, err := OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []control.Key{{Role: control.RoleAdmin, Secret: "first-secret-of-ours"}, {Role: control.RoleView, Secret: "second-secret-of-ours"}}
	if got := k.List(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("keys %+v, want %+v", got, want)
	}
	// What cannot be used leaves the keys as they are, and the error does not tell a secret.
	for _, bad := range []struct {
		text string
		mode fs.FileMode
		want string
	}{
		{"admin third-secret-of-ours\n", 0o640, "has mode 0640 and must be 0600"},
		{"admin third-secret-of-ours\n", 0o604, "has mode 0604 and must be 0600"},
		{"admin\n", 0o600, "line 1: expected view SECRET or admin SECRET"},
		{"# x\nroot third-secret-of-ours\n", 0o600, "line 2: expected view SECRET or admin SECRET"},
		{"admin third-secret-of-ours more\n", 0o600, "line 1: expected view SECRET or admin SECRET"},
		{"admin short\n", 0o600, "line 1: the secret has less than 12 characters"},
	} {
		write(bad.text, bad.mode)
		err := k.Reload()
		if err == nil || !strings.Contains(err.Error(), bad.want) || strings.Contains(err.Error(), "third-secret") {
			t.Errorf("%q with mode %04o: %v, want %q", bad.text, bad.mode, err, bad.want)
		}
		if got := k.List(); len(got) != 2 || got[0] != want[0] {
			t.Errorf("%q: the keys changed to %+v", bad.text, got)
		}
	}
	write("view third-secret-of-ours\n", 0o400)
	if err := k.Reload(); err != nil || len(k.List()) != 1 {
		t.Errorf("reloaded %+v, %v", k.List(), err)
	}
}

func TestKeysFileMustBeAFile(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(real, []byte("admin first-secret-of-ours\n"), 0o600), os.Symlink(real, link)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys(link); err == nil {
		t.Error("a link is taken for the keys")
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys(filepath.Join(dir, "dangling")); err == nil {
		t.Error("keys were written through a dangling link")
	}
	if _, err := OpenKeys(dir); err == nil {
		t.Error("a directory is taken for the keys")
	}
}

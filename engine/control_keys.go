package engine

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"bmp/proto/control"
)

// maxKeysBytes bounds control.keys: more than anybody will write.
const maxKeysBytes = 1 << 20

// minSecret is the shortest secret taken. Whoever listens to a login on an unencrypted port may guess at it for as
// long as he likes.
const minSecret = 12

// Keys are the secrets of control.keys in the state folder:
//
//	# ROLE SECRET
//	admin 8c0b8d2f4be51f4c...
//	view  another-long-secret
//
// The file must be the station's own and readable by nobody else. A station that finds none writes one with a random
// admin secret, so that `auth` works from the first minute for whoever can read the file, and for nobody else.
type Keys struct {
	path string

	mu   sync.Mutex
	list []control.Key
}

// OpenKeys reads the file, and creates it first where there is none.
func OpenKeys(path string) (*Keys, error) {
	k := &Keys{path: path}
	err := k.Reload()
	if errors.Is(err, fs.ErrNotExist) {
		if err = createKeys(path); err == nil {
			err = k.Reload()
		}
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

func createKeys(path string) error {
	secret := make([]byte, 24)
	rand.Read(secret) // never fails
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("control keys: %w", err)
	}
	_, err = fmt.Fprintf(f, "# ROLE SECRET, one a line; ROLE is view or admin. Read at start and on SIGHUP.\nadmin %s\n",
		hex.EncodeToString(secret))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("control keys: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// Reload reads the file again. After an error the keys are those of before.
func (k *Keys) Reload() error {
	f, err := os.OpenFile(k.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("control keys: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("control keys: %w", err)
	}
	owner := int(fi.Sys().(*syscall.Stat_t).Uid)
	switch {
	case !fi.Mode().IsRegular():
		return fmt.Errorf("control keys: %s is not a regular file", k.path)
	case owner != os.Geteuid() && owner != 0:
		return fmt.Errorf("control keys: %s belongs to user %d", k.path, owner)
	case fi.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("control keys: %s has mode %04o and must be 0600", k.path, fi.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeysBytes+1))
	if err != nil {
		return fmt.Errorf("control keys: %w", err)
	}
	if len(text) > maxKeysBytes {
		return fmt.Errorf("control keys: %s is larger than %d bytes", k.path, maxKeysBytes)
	}
	list, err := parseKeys(text)
	if err != nil {
		return fmt.Errorf("control keys: %s: %w", k.path, err)
	}
	k.mu.Lock()
	k.list = list
	k.mu.Unlock()
	return nil
}

// parseKeys reads the lines of the file. An error names the line and never the secret.
func parseKeys(text []byte) ([]control.Key, error) {
	var list []control.Key
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) != 2 || words[0] != "view" && words[0] != "admin" {
			return nil, fmt.Errorf("line %d: expected view SECRET or admin SECRET", n)
		}
		if len(words[1]) < minSecret {
			return nil, fmt.Errorf("line %d: the secret has less than %d characters", n, minSecret)
		}
		role := control.RoleView
		if words[0] == "admin" {
			role = control.RoleAdmin
		}
		list = append(list, control.Key{Role: role, Secret: words[1]})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return list, nil
}

// List returns the keys as they are now; the caller may keep it and must not change it.
func (k *Keys) List() []control.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.list
}

package listen

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where ip-netns(8) keeps the names of network namespaces, one bind mount each.
const netnsDir = "/run/netns"

// A Namespace is a network namespace with a name.
type Namespace struct {
	Name string
	ID   uint64 // inode; a namespace removed and made again under its name has another one
	Own  bool   // it is the one the station itself runs in
}

// Namespaces lists the named network namespaces of this machine, by name. Files in the directory that are no
// namespace are left out.
func Namespaces() ([]Namespace, error) {
	entries, err := os.ReadDir(netnsDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("network namespaces: %w", err)
	}
	own, err := OwnNamespaceID()
	if err != nil {
		return nil, err
	}
	var list []Namespace
	for _, e := range entries {
		id, err := namespaceID(filepath.Join(netnsDir, e.Name()))
		if err != nil {
			continue
		}
		list = append(list, Namespace{Name: e.Name(), ID: id, Own: id == own})
	}
	slices.SortFunc(list, func(a, b Namespace) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// OwnNamespaceID is the ID of the namespace the station runs in.
func OwnNamespaceID() (uint64, error) {
	// Any thread but one that is inside In speaks for the station; /proc/self would be the first one, inside or not.
	id, err := currentNamespaceID()
	if err != nil {
		return 0, fmt.Errorf("own network namespace: %w", err)
	}
	return id, nil
}

// currentNamespaceID is the ID of the namespace of the calling thread.
func currentNamespaceID() (uint64, error) { return namespaceID("/proc/thread-self/ns/net") }

func namespaceID(path string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, err
	}
	if fs.Type != unix.NSFS_MAGIC {
		return 0, errors.New("not a namespace")
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// A NoNamespaceError is a network namespace that is not there. It names those that are.
type NoNamespaceError struct {
	Name string
	Have []string
}

func (e *NoNamespaceError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("No network namespace '%s' (there are none)", e.Name)
	}
	return fmt.Sprintf("No network namespace '%s' (there are: %s)", e.Name, strings.Join(e.Have, ", "))
}

// A CapabilityError is something the kernel allows only with a capability that the station does not have.
type CapabilityError struct {
	What       string
	Capability string
}

func (e *CapabilityError) Error() string {
	return fmt.Sprintf("%s needs %s", e.What, e.Capability)
}

// In runs f in the named network namespace and returns f's error; the empty name runs it where the station is. f has
// a thread of its own while it runs: sockets it creates belong to the namespace, goroutines it starts do not.
func In(name string, f func() error) error {
	if name == "" {
		return f()
	}
	target, err := netns.GetFromName(name)
	if err != nil {
		return namespaceError(name, err)
	}
	defer target.Close()
	result := make(chan error, 1)
	go func() { result <- visit(name, target, f, netns.Set) }()
	return <-result
}

// visit takes the calling goroutine's thread into a namespace, runs f there, and puts the thread back by calling back.
// Where that fails the goroutine stays locked to the thread and must end: the runtime then ends the thread with it, and
// no other goroutine can wake up in the wrong namespace.
func visit(name string, target netns.NsHandle, f func() error, back func(netns.NsHandle) error) error {
	runtime.LockOSThread()
	own, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("own network namespace: %w", err)
	}
	defer own.Close()
	if err := netns.Set(target); err != nil {
		runtime.UnlockOSThread() // it did not move
		return namespaceError(name, err)
	}
	err = f()
	if back(own) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

func namespaceError(name string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		have, _ := Namespaces()
		e := &NoNamespaceError{Name: name}
		for _, n := range have {
			e.Have = append(e.Have, n.Name)
		}
		return e
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return &CapabilityError{What: fmt.Sprintf("Network namespace '%s'", name), Capability: "CAP_SYS_ADMIN"}
	case errors.Is(err, unix.EINVAL):
		return &PlaceError{Text: fmt.Sprintf("%s is not a network namespace", filepath.Join(netnsDir, name))}
	}
	return fmt.Errorf("network namespace '%s': %w", name, err)
}

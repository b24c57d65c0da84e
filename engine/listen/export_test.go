package listen

import (
	"errors"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// InThisThread is In without a thread of its own.
func InThisThread(name string) error {
	target, err := netns.GetFromName(name)
	if err != nil {
		return err
	}
	defer target.Close()
	return visit(name, target, func() error { return nil }, netns.Set)
}

// VisitAndStay is In with the way back blocked. It returns the thread that was used.
func VisitAndStay(name string) (tid int) {
	target, err := netns.GetFromName(name)
	if err != nil {
		return 0
	}
	defer target.Close()
	result := make(chan int, 1)
	go func() {
		visit(name, target, func() error { tid = unix.Gettid(); return nil },
			func(netns.NsHandle) error { return errors.New("blocked") })
		result <- tid
	}()
	return <-result
}

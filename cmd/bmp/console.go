package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// console writes the station's console lines where the options want them: to a
// terminal, to standard output, or to a log file.
//
// One goroutine writes, in order. Line never blocks: a terminal that somebody
// stopped with Ctrl-S, or a full disk, costs console lines, which are counted
// and said, and never the station's time.
type console struct {
	queue   chan consoleItem
	dropped atomic.Int64
	done    chan struct{}

	// Of the writing goroutine alone.
	out  io.Writer // nil when nothing is printed
	glue bool      // out is a terminal that others type on
	log  *os.File  // nil without -l
	path string    // of log
}

// consoleItem is a line, or something to do between two lines.
type consoleItem struct {
	at   time.Time
	text string
	do   func()
}

// consoleQueue is how many lines may wait: a station under a storm of events
// writes what fits and says how many did not.
const consoleQueue = 1000

// newConsole starts a console that prints to out, or only into the log file
// when out is nil. The file is opened before it returns, so that a name that
// cannot be opened is an error at start.
func newConsole(out io.Writer, logFile string) (*console, error) {
	c := &console{queue: make(chan consoleItem, consoleQueue), done: make(chan struct{}), out: out, path: logFile}
	if logFile != "" {
		f, err := openLog(logFile)
		if err != nil {
			return nil, err
		}
		c.log = f
	}
	go c.run()
	return c, nil
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
}

// Line prints one line, stamped with at. It may be called from any goroutine
// until Close.
func (c *console) Line(at time.Time, text string) {
	select {
	case c.queue <- consoleItem{at: at, text: text}:
	default:
		c.dropped.Add(1)
	}
}

// redirect prints the lines after those already given to out; glue says that
// out is a terminal with somebody else's prompt on it.
func (c *console) redirect(out io.Writer, glue bool) {
	c.do(func() { c.out, c.glue = out, glue })
}

// reopen opens the log file again by its name, after it was moved away. What
// was wrong is returned; the old file stays in use then.
func (c *console) reopen() error {
	if c.path == "" {
		return nil
	}
	f, err := openLog(c.path)
	if err != nil {
		return err
	}
	c.do(func() {
		c.log.Close()
		c.log = f
	})
	return nil
}

// do runs f between two lines and waits for it, but not for ever: the writer
// may hang on a stopped terminal.
func (c *console) do(f func()) {
	ran := make(chan struct{})
	item := consoleItem{do: func() { f(); close(ran) }}
	timeout := time.NewTimer(2 * time.Second)
	defer timeout.Stop()
	select {
	case c.queue <- item:
	case <-timeout.C:
		return
	}
	select {
	case <-ran:
	case <-timeout.C:
	}
}

// Close writes what waits and ends the goroutine.
func (c *console) Close() {
	c.do(func() {})
	close(c.queue)
	select {
	case <-c.done:
	case <-time.After(time.Second):
	}
}

func (c *console) run() {
	defer close(c.done)
	for item := range c.queue {
		if item.do != nil {
			item.do()
			continue
		}
		// What has gathered is one write: a burst of events is one block
		// on a terminal, not one blank line each.
		var text, logged strings.Builder
		var after func()
		c.format(&text, &logged, item)
	gather:
		for range consoleQueue {
			select {
			case item, ok := <-c.queue:
				if !ok {
					break gather
				}
				if item.do != nil {
					after = item.do
					break gather
				}
				c.format(&text, &logged, item)
			default:
				break gather
			}
		}
		if n := c.dropped.Swap(0); n > 0 {
			c.format(&text, &logged, consoleItem{at: time.Now(), text: fmt.Sprintf("%d console lines dropped", n)})
		}
		c.write(text.String(), logged.String())
		if after != nil {
			after()
		}
	}
	if c.log != nil {
		c.log.Close()
	}
}

func (c *console) format(text, logged *strings.Builder, item consoleItem) {
	fmt.Fprintf(text, "[%s] %s\n", item.at.Format("15:04:05.000"), item.text)
	fmt.Fprintf(logged, "%s %s\n", item.at.Format("2006-01-02T15:04:05.000Z07:00"), item.text)
}

func (c *console) write(text, logged string) {
	if c.log != nil {
		// A full disk is met again with the next line; there is nobody
		// left to tell.
		io.WriteString(c.log, logged)
	}
	if c.out == nil {
		return
	}
	if c.glue {
		text = "\n" + text
	}
	if _, err := io.WriteString(c.out, text); err != nil {
		c.out = nil // the terminal is gone
	}
}

package lang

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// A source that nests without end does not overflow a stack, neither when it is
// read nor when it runs.
func TestNestedWithoutEnd(t *testing.T) {
	for _, part := range []string{"(("} {
		if _, err := Parse("s", []byte("x=1;"+strings.Repeat(part, maxLanguage/len(part)-2))); err == nil {
			t.Errorf("%q without end parses", part)
		}
	}
	for _, part := range [][3]string{{"{ ", ":", ";}"}, {"$(", ":", ")"}} {
		n := maxLanguage/(len(part[0])+len(part[2]))/4 - 4
		s, err := Parse("s", []byte("x=1;: "+strings.Repeat(part[0], n)+part[1]+strings.Repeat(part[2], n)))
		if err != nil {
			s, err = Parse("s", []byte("x=1;"+strings.Repeat(part[0], n)+part[1]+strings.Repeat(part[2], n)))
		}
		if err != nil {
			t.Errorf("%q: %.200v", part, err)
			continue
		}
		r, err := New(Options{Exec: (&fakeStation{}).exec, MaxSteps: 1000})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if _, err := r.Run(ctx, s); err != nil && ctx.Err() == nil {
			t.Errorf("%q: %.200v", part, err)
		}
		cancel()
	}
	var e *Error
	if _, err := Parse("s", []byte("x=1;"+strings.Repeat("x=1;\n", maxLanguage/4+1))); !errors.As(err, &e) || e.Status != 2 {
		t.Errorf("a larger source: %v", err)
	}
	if _, err := Parse("s", []byte(strings.Repeat("show clients\n", 100_000))); err != nil {
		t.Errorf("plain lines: %v", err)
	}
}

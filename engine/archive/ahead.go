package archive

import "time"

// maxAhead is how many blocks are decoded at once, at most; each has a decoder, with buffers of a few hundred KiB.
const maxAhead = 4

// ahead decodes blocks while those before them are being looked at, and hands them on in their order. It is used by one
// goroutine.
type ahead struct {
	slots []*aheadBlock // used in turns
	next  int
	busy  int // of the slots, those that come before next
	f     func(*aheadBlock) error
}

// aheadBlock is a block being decoded.
type aheadBlock struct {
	info *info
	at   time.Time
	r    reader
	in   chan []byte
	done chan struct{}
	out  []byte // its records
	err  error
}

func (a *Archive) newAhead(n int, f func(*aheadBlock) error) (*ahead, error) {
	h := &ahead{f: f}
	for range max(n, 1) {
		r, err := a.newReader()
		if err != nil {
			h.close()
			return nil, err
		}
		b := &aheadBlock{r: r, in: make(chan []byte), done: make(chan struct{}, 1)}
		h.slots = append(h.slots, b)
		go func() { // ends with close
			defer r.close()
			for payload := range b.in {
				b.out, _, b.err = b.r.decode(payload)
				b.done <- struct{}{}
			}
		}()
	}
	return h, nil
}

// add takes a block, after the one before which there is no room left was handed on.
func (h *ahead) add(i *info, payload []byte, at time.Time) error {
	if err := h.drain(len(h.slots) - 1); err != nil {
		return err
	}
	b := h.slots[h.next]
	b.info, b.at = i, at
	b.in <- payload
	h.next = (h.next + 1) % len(h.slots)
	h.busy++
	return nil
}

// drain hands blocks on until only so many are left.
func (h *ahead) drain(left int) error {
	for h.busy > left {
		b := h.slots[(h.next-h.busy+len(h.slots))%len(h.slots)]
		<-b.done
		h.busy--
		if err := h.f(b); err != nil {
			return err
		}
	}
	return nil
}

// close ends the decoding; what was not handed on is not.
func (h *ahead) close() {
	for _, b := range h.slots {
		close(b.in)
	}
}

// each calls f with the records.
func (b *aheadBlock) each(f func(*record, *info) error) error {
	if b.err != nil {
		return &blockError{b.err}
	}
	var rec record
	for rest, ok := b.out, true; len(rest) > 0; {
		if rest, ok = nextRecord(rest, &rec); !ok {
			return &blockError{errCut}
		}
		if err := f(&rec, b.info); err != nil {
			return err
		}
	}
	return nil
}

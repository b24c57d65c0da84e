package rib

import (
	"math"
	"slices"
	"sort"
	"sync/atomic"
)

// A tree holds the cells of a table that has few of the family's prefixes, or of one with ADD-PATH: entries in the
// order of their keys, in leaves of one page, under branches, under the root.
//
//	root      firsts, branches          Go heap
//	branch    firsts, leaves            Go heap, at most branchMax leaves
//	leaf      plain:     170 cells | 170 keys of 4 bytes | number of entries      small page: 20
//	          ADD-PATH:  127 cells | 127 keys of 8 bytes | number of entries      small page: 15
//
// Invariants: the keys that a leaf's number counts do not change. Entries that come after all of them are written
// behind them before the number is, which is stored and loaded atomically; to insert others, the leaf is written anew
// and the old one retired. A cell is changed in place; a withdrawn route leaves its key with cell 0, until the leaf is
// written anew or compact finds too many of them. A branch's firsts do not change; what changes is the page number
// of a leaf.
const (
	smallLeaf = 1 << 31 // in a leaf's page number: it is a small page

	plainCap, plainSmall = 170, 20
	pathCap, pathSmall   = 127, 15

	branchMax  = 64
	leafWindow = 6   // leaves that share their room before there is one more
	longRun    = 128 // entries between two of a leaf that are worth leaves of their own
)

type branch struct {
	firsts []uint64
	leaves []uint32 // loaded and stored atomically
}

type entry struct{ key, cell uint64 }

// leaf is a view of a leaf's page, with what it held when its number was loaded. Capacities are those of the page.
type leaf struct {
	words []uint64
	keys4 []uint32 // of a plain leaf
	keys8 []uint64 // of one with ADD-PATH
}

func (t *Table) leaf(ref uint32) leaf {
	var words []uint64
	var halves []uint32
	keys := plainCap
	if ref&smallLeaf != 0 {
		p := t.store.small.small(ref &^ smallLeaf)
		words, halves, keys = p[:], p.halves()[:], plainSmall
		if t.addPath {
			keys = pathSmall
		}
	} else {
		p := t.store.big.big(ref)
		words, halves = p[:], p.columns()[:]
		if t.addPath {
			keys = pathCap
		}
	}
	n := int(atomic.LoadUint64(&words[len(words)-1]))
	if t.addPath {
		return leaf{words: words[:n:keys], keys8: words[keys : keys+n : 2*keys]}
	}
	return leaf{words: words[:n:keys], keys4: halves[2*keys : 2*keys+n : 3*keys]}
}

// setNumber says how many entries a leaf has.
func (t *Table) setNumber(ref uint32, n int) {
	var word *uint64
	if ref&smallLeaf != 0 {
		word = &t.store.small.small(ref &^ smallLeaf)[smallWords-1]
	} else {
		word = &t.store.big.big(ref)[bigWords-1]
	}
	atomic.StoreUint64(word, uint64(n))
}

func (l leaf) key(i int) uint64 {
	if l.keys8 != nil {
		return l.keys8[i]
	}
	return uint64(l.keys4[i])
}

// search is the place of the first key that is not below key. It looks at one key of each cache line, all at once,
// before it looks into one of them: in a leaf that is not in the cache, halving would wait for line after line.
func (l leaf) search(key uint64) int {
	lo := 0
	if l.keys8 != nil {
		for i := 7; i < len(l.keys8); i += 8 {
			if l.keys8[i] < key {
				lo = i + 1
			}
		}
		for lo < len(l.keys8) && l.keys8[lo] < key {
			lo++
		}
		return lo
	}
	if key > math.MaxUint32 {
		return len(l.keys4)
	}
	k := uint32(key)
	for i := 15; i < len(l.keys4); i += 16 {
		if l.keys4[i] < k {
			lo = i + 1
		}
	}
	for lo < len(l.keys4) && l.keys4[lo] < k {
		lo++
	}
	return lo
}

// at is the place of the last of firsts that is not above key; firsts[0] is not above any.
func at(firsts []uint64, key uint64) int {
	lo, hi := 0, len(firsts)
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		if firsts[mid] <= key {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// find is the cell of a key in a tree, or nil.
func (t *Table) find(r *root, key uint64) *uint64 {
	b := r.branches[at(r.firsts, key)].Load()
	l := t.leaf(atomic.LoadUint32(&b.leaves[at(b.firsts, key)]))
	if i := l.search(key); i < len(l.words) && l.key(i) == key {
		return &l.words[i]
	}
	return nil
}

// near finds in a tree whose keys and leaves do not change meanwhile. It looks first where the last key was: in one
// batch of one table, one key is often near the other.
type near struct {
	leaf       leaf
	first, end uint64 // of the keys that belong in leaf
}

func (n *near) find(t *Table, r *root, key uint64) *uint64 {
	if key < n.first || key >= n.end {
		bi := at(r.firsts, key)
		b := r.branches[bi].Load()
		li := at(b.firsts, key)
		n.leaf, n.first, n.end = t.leaf(b.leaves[li]), b.firsts[li], math.MaxUint64
		if limit, ok := r.limit(b, bi, li); ok {
			n.end = limit
		}
	}
	l := n.leaf
	if k := len(l.words); k == 0 || l.key(k-1) < key {
		return nil
	}
	if i := l.search(key); l.key(i) == key {
		return &l.words[i]
	}
	return nil
}

// eachLeaf is Table.each for a tree.
func (t *Table) eachLeaf(r *root, from uint64, fn func(id, path uint32, cell *uint64) bool) {
	for i := at(r.firsts, from); i < len(r.branches); i++ {
		b := r.branches[i].Load()
		for j := at(b.firsts, from); j < len(b.leaves); j++ {
			l := t.leaf(atomic.LoadUint32(&b.leaves[j]))
			for k := l.search(from); k < len(l.words); k++ {
				id, path := uint32(l.key(k)), uint32(0)
				if t.addPath {
					id, path = uint32(l.keys8[k]>>32), uint32(l.keys8[k])
				}
				if !fn(id, path, &l.words[k]) {
					return
				}
			}
		}
	}
}

// newLeaf allocates a leaf for n entries, which are still to be written. ref 0 is no memory.
func (t *Table) newLeaf(n int) (ref uint32, l leaf) {
	s := t.store
	few := plainSmall
	if t.addPath {
		few = pathSmall
	}
	if n <= few {
		if ref = s.small.alloc(false); ref == 0 {
			return 0, leaf{}
		}
		ref |= smallLeaf
	} else if ref = s.big.alloc(false); ref == 0 {
		return 0, leaf{}
	}
	t.setNumber(ref, n)
	return ref, t.leaf(ref)
}

func (l leaf) put(i int, e entry) {
	l.words[i] = e.cell
	if l.keys8 != nil {
		l.keys8[i] = e.key
	} else {
		l.keys4[i] = uint32(e.key)
	}
}

// writeLeaf makes a leaf of entries, which fit. 0 is no memory.
func (t *Table) writeLeaf(entries []entry) uint32 {
	ref, l := t.newLeaf(len(entries))
	if ref != 0 {
		for i, e := range entries {
			l.put(i, e)
		}
	}
	return ref
}

// extendLeaf makes a leaf of those of l, which are all kept, and add, which fit.
func (t *Table) extendLeaf(l leaf, add []entry) uint32 {
	ref, out := t.newLeaf(len(l.words) + len(add))
	if ref == 0 {
		return 0
	}
	from := 0
	for i := 0; i <= len(add); i++ {
		to := len(l.words)
		if i < len(add) {
			to = l.search(add[i].key)
		}
		l.copyTo(out, from+i, from, to)
		if i < len(add) {
			out.put(to+i, add[i])
		}
		from = to
	}
	return ref
}

// copyTo copies some entries to place n of another leaf.
func (l leaf) copyTo(out leaf, n, from, to int) {
	copy(out.words[n:], l.words[from:to])
	if l.keys8 != nil {
		copy(out.keys8[n:], l.keys8[from:to])
	} else {
		copy(out.keys4[n:], l.keys4[from:to])
	}
}

// fill adds entries, which come after all of l, for which its page has room.
func (t *Table) fill(ref uint32, l leaf, add []entry) {
	n := len(l.words)
	to := n + len(add)
	l.words = l.words[:to]
	if l.keys8 != nil {
		l.keys8 = l.keys8[:to]
	} else {
		l.keys4 = l.keys4[:to]
	}
	for i, e := range add {
		l.put(n+i, e)
	}
	t.setNumber(ref, to)
}

func (t *Table) leafCap() int {
	if t.addPath {
		return pathCap
	}
	return plainCap
}

// giveLeaves takes back leaves that nobody has seen.
func (t *Table) giveLeaves(refs []uint32) {
	for _, ref := range refs {
		if ref&smallLeaf != 0 {
			t.store.small.give([]uint32{ref &^ smallLeaf})
		} else {
			t.store.big.give([]uint32{ref})
		}
	}
}

// writeLeaves makes n leaves of about equal size.
func (t *Table) writeLeaves(entries []entry, n int) (firsts []uint64, refs []uint32, ok bool) {
	firsts, refs = make([]uint64, 0, n), make([]uint32, 0, n)
	for i := range n {
		part := entries[len(entries)*i/n : len(entries)*(i+1)/n]
		ref := t.writeLeaf(part)
		if ref == 0 {
			t.giveLeaves(refs)
			return nil, nil, false
		}
		first := uint64(0)
		if len(part) > 0 {
			first = part[0].key
		}
		firsts, refs = append(firsts, first), append(refs, ref)
	}
	return firsts, refs, true
}

// leavesFor is how many leaves n entries want: about nine tenths full.
func (t *Table) leavesFor(n int) int { return max(1, (n*16+t.leafCap()*15-1)/(t.leafCap()*15)) }

// buildTree makes a tree of entries; nil when there are none. It is false when there is no memory.
func (t *Table) buildTree(entries []entry) (*root, bool) {
	if len(entries) == 0 {
		return nil, true
	}
	n := 1
	if len(entries) > t.leafCap() {
		n = t.leavesFor(len(entries))
	}
	firsts, refs, ok := t.writeLeaves(entries, n)
	if !ok {
		return nil, false
	}
	firsts[0] = 0
	r := &root{}
	for len(refs) > 0 {
		k := len(refs)
		if k > branchMax {
			k = branchMax * 3 / 4
		}
		r.add(&branch{firsts[:k:k], refs[:k:k]})
		firsts, refs = firsts[k:], refs[k:]
	}
	return r, true
}

// add appends a branch to a root that is not in use yet.
func (r *root) add(b *branch) {
	r.firsts = append(r.firsts, b.firsts[0])
	wide := r.only[:]
	if len(r.firsts) > 1 {
		wide = make([]atomic.Pointer[branch], len(r.firsts))
	}
	for i := range r.branches {
		wide[i].Store(r.branches[i].Load())
	}
	wide[len(wide)-1].Store(b)
	r.branches = wide
}

// insert adds entries, ordered by key, none of whose keys the tree has. scratch is memory to work in. It returns
// how many were added: fewer than there are when there is no memory. t.mu is held.
func (t *Table) insert(entries []entry, scratch *[]entry) int {
	done := 0
	for done < len(entries) {
		r := t.root.Load()
		if r == nil {
			tree, ok := t.buildTree(entries[done:])
			if !ok {
				return done
			}
			t.setRoot(tree)
			return len(entries)
		}
		key := entries[done].key
		bi := at(r.firsts, key)
		b := r.branches[bi].Load()
		li := at(b.firsts, key)
		// Those that go into the same leaf.
		end := len(entries)
		if limit, ok := r.limit(b, bi, li); ok {
			end = done + sort.Search(len(entries)-done, func(i int) bool { return entries[done+i].key >= limit })
		}
		ref := b.leaves[li]
		l := t.leaf(ref)
		n := len(l.words)
		room, after := t.leafCap()-n, n == 0 || l.key(n-1) < key
		if after && room > 0 {
			end = min(end, done+room) // the others have a leaf before them that is full
		}
		add := entries[done:end]
		anew, tombs := uint32(0), uint32(0)
		switch {
		case after && n+len(add) <= cap(l.words):
			t.fill(ref, l, add)
			done = end
			continue
		case t.tombs == 0 && len(add) <= room:
			anew = t.extendLeaf(l, add)
		case t.tombs == 0 && after:
			if !t.appendLeaves(r, bi, li, add) {
				return done
			}
			done = end
			continue
		case t.tombs == 0 && len(add) >= longRun && add[longRun-1].key < l.key(l.search(key)):
			if !t.part(r, bi, li, l, key) {
				return done
			}
			continue
		default:
			*scratch, tombs = l.merge((*scratch)[:0], add)
			if merged := *scratch; len(merged) > t.leafCap() {
				if !t.spread(r, bi, li, merged, tombs, scratch) {
					return done
				}
				done = end
				continue
			}
			anew = t.writeLeaf(*scratch)
		}
		if anew == 0 {
			return done
		}
		atomic.StoreUint32(&b.leaves[li], anew)
		t.store.retireLeaf(ref)
		t.tombs -= tombs
		done = end
	}
	return done
}

// limit is the first key that belongs to the next leaf.
func (r *root) limit(b *branch, bi, li int) (uint64, bool) {
	switch {
	case li+1 < len(b.firsts):
		return b.firsts[li+1], true
	case bi+1 < len(r.firsts):
		return r.firsts[bi+1], true
	}
	return 0, false
}

// merge appends the live entries of the leaf and add, in order; it also returns how many others there were.
func (l leaf) merge(dst []entry, add []entry) (all []entry, tombs uint32) {
	for i, c := range l.words {
		c = atomic.LoadUint64(&l.words[i])
		k := l.key(i)
		for len(add) > 0 && add[0].key < k {
			dst, add = append(dst, add[0]), add[1:]
		}
		if c != 0 {
			dst = append(dst, entry{k, c})
		} else {
			tombs++
		}
	}
	return append(dst, add...), tombs
}

// appendLeaves adds entries, which come after all of leaf li, which is full, and before the next. Most numbers come so,
// when peers announce in about the same order.
func (t *Table) appendLeaves(r *root, bi, li int, add []entry) bool {
	b := r.branches[bi].Load()
	firsts, refs := b.firsts[li:li+1:li+1], b.leaves[li:li+1:li+1]
	for len(add) > 0 {
		n := min(t.leafCap(), len(add))
		ref := t.writeLeaf(add[:n])
		if ref == 0 {
			t.giveLeaves(refs[1:])
			return false
		}
		firsts, refs, add = append(firsts, add[0].key), append(refs, ref), add[n:]
	}
	t.replaceLeaves(r, bi, li, li+1, firsts, refs)
	return true
}

// part makes two leaves of leaf li, before and after a key: a run that is inserted there goes behind the first, and so
// does what follows it in the next batches. It is false when there is no memory.
func (t *Table) part(r *root, bi, li int, l leaf, key uint64) bool {
	i := l.search(key)
	left, out := t.newLeaf(i)
	if left == 0 {
		return false
	}
	l.copyTo(out, 0, 0, i)
	right, out := t.newLeaf(len(l.words) - i)
	if right == 0 {
		t.giveLeaves([]uint32{left})
		return false
	}
	l.copyTo(out, 0, i, len(l.words))
	b := r.branches[bi].Load()
	old := b.leaves[li]
	t.replaceLeaves(r, bi, li, li+1, []uint64{b.firsts[li], l.key(i)}, []uint32{left, right})
	t.store.retireLeaf(old)
	return true
}

// spread puts merged, which is too much for leaf li of branch bi, into that leaf and its neighbours, with one leaf
// more if need be; or, when it is much more, into leaves of its own.
func (t *Table) spread(r *root, bi, li int, merged []entry, tombs uint32, scratch *[]entry) bool {
	b := r.branches[bi].Load()
	from, to := li, li+1
	if len(merged) < t.leafCap()*2 {
		from = max(0, min(li-1, len(b.leaves)-leafWindow))
		to = min(from+leafWindow, len(b.leaves))
	}
	n := len(merged)
	all := merged[n:]
	for i := from; i < to; i++ {
		if i == li {
			all = append(all, merged[:n]...)
			continue
		}
		var more uint32
		all, more = t.leaf(b.leaves[i]).merge(all, nil)
		tombs += more
	}
	if cap(all) > cap(*scratch) {
		*scratch = all[:0]
	}
	firsts, refs, ok := t.writeLeaves(all, t.leavesFor(len(all)))
	if !ok {
		return false
	}
	firsts[0] = b.firsts[from]
	t.replaceLeaves(r, bi, from, to, firsts, refs)
	for _, ref := range b.leaves[from:to] {
		t.store.retireLeaf(ref)
	}
	t.tombs -= tombs
	return true
}

// replaceLeaves puts leaves in place of some of branch bi, which it may divide. At most half a branch's leaves come in
// place of one.
func (t *Table) replaceLeaves(r *root, bi, from, to int, firsts []uint64, refs []uint32) {
	b := r.branches[bi].Load()
	next := &branch{
		slices.Concat(b.firsts[:from], firsts, b.firsts[to:]),
		slices.Concat(b.leaves[:from], refs, b.leaves[to:]),
	}
	k := len(next.leaves)
	if k <= branchMax {
		r.branches[bi].Store(next)
		return
	}
	wide := &root{firsts: slices.Insert(slices.Clone(r.firsts), bi+1, next.firsts[k/2])}
	wide.branches = make([]atomic.Pointer[branch], len(wide.firsts))
	for i := range r.branches {
		j := i
		if i > bi {
			j++
		}
		wide.branches[j].Store(r.branches[i].Load())
	}
	wide.branches[bi].Store(&branch{slices.Clone(next.firsts[:k/2]), slices.Clone(next.leaves[:k/2])})
	wide.branches[bi+1].Store(&branch{slices.Clone(next.firsts[k/2:]), slices.Clone(next.leaves[k/2:])})
	t.root.Store(wide) // the pages are the same but for those that the caller retires
}

// compact writes a tree anew when withdrawn entries are too many in it. t.mu is held.
func (t *Table) compact() {
	r := t.root.Load()
	if r == nil || r.isDense() || t.tombs <= 16 && t.n.Load() > 0 || t.tombs <= t.n.Load()/2 {
		return
	}
	entries := make([]entry, 0, t.n.Load())
	t.each(r, 0, func(id, path uint32, cell *uint64) bool {
		if c := atomic.LoadUint64(cell); c != 0 {
			entries = append(entries, entry{t.key(id, path), c})
		}
		return true
	})
	if tree, ok := t.buildTree(entries); ok {
		t.setRoot(tree)
		t.tombs = 0
	}
}

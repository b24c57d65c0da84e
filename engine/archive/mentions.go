package archive

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"bmp/proto/bgp"
)

// mention is that a block says something about a route.
type mention struct {
	block uint64
	hash  uint32
}

// routeID is a route: one of the keys asked for, and whose.
type routeID struct {
	key    int
	holder holder
}

// mentions are what the lists say of the routes asked for.
type mentions struct {
	keys   []RouteKey
	routes map[routeID][]mention

	corrupt []Corrupt // lists that cannot be read, in place of which the blocks are
}

// routeName is a route in full.
type routeName struct {
	holder
	family bgp.Family
	key    string
}

// between says that one of the blocks of a list in order is among those from one to another.
func between(list []uint64, from, to uint64) bool {
	n, _ := slices.BinarySearch(list, from)
	return n < len(list) && list[n] <= to
}

// within leaves what is in some blocks and of some peers, none meaning all, puts it in order, and leaves out what repeats
// the mention before, unless one of the states or others, blocks in order, stands between.
func (v *mentions) within(blocks []*info, peers []PeerKey, states, others []uint64) {
	for id, list := range v.routes {
		list = slices.DeleteFunc(list, func(e mention) bool {
			return len(blocks) == 0 || e.block < blocks[0].seq || e.block > blocks[len(blocks)-1].seq
		})
		if len(list) == 0 || len(peers) > 0 && !slices.Contains(peers, id.holder.peer) {
			delete(v.routes, id)
			continue
		}
		slices.SortFunc(list, func(a, b mention) int { return cmp.Compare(a.block, b.block) })
		kept := list[:1]
		for _, e := range list[1:] {
			if last := kept[len(kept)-1]; e.hash != last.hash || e.hash == hashMixed || between(states, last.block, e.block) || between(others, last.block, e.block) {
				kept = append(kept, e)
			}
		}
		v.routes[id] = kept
	}
}

// blocks are all those that say something.
func (v *mentions) blocks() (out []uint64) {
	for _, list := range v.routes {
		for _, e := range list {
			out = append(out, e.block)
		}
	}
	return out
}

// deciding are the blocks from which it follows what the routes are at a time in the block cut, and since when, together with
// states, blocks that change more than routes, and others, which may be about the keys without being listed, both in order.
// What blocks before those in cuts say of a route is to be left out, as some of what follows it is not read.
//
// Of each route these are, besides the block with the time, that in which its attributes became what they are. And of each
// stretch between two states the first that speaks of it, and that announces it, as what follows from a Peer Down hangs on
// whether the peer was spoken of. Where block 1 announces it with A, 2 withdraws it, 3 announces it with B and 4 with A again,
// and the time lies in 5, these are 1, the first of the stretch, and 4, from which on it is A.
func (v *mentions) deciding(keys []RouteKey, cut uint64, states, others []uint64) (out []uint64, cuts map[routeName]uint64) {
	cuts = make(map[routeName]uint64)
	for id, list := range v.routes {
		k := len(list) - 1
		if list[k].block == cut {
			out = append(out, cut)
			k--
		}
		if k < 0 {
			continue
		}
		announced := false
		for n, e := range list[:k+1] {
			first := n == 0 || between(states, list[n-1].block, e.block)
			announced = announced && !first
			if first || !announced && e.hash != hashWithdrawn {
				out = append(out, e.block)
			}
			announced = announced || e.hash != hashWithdrawn
		}
	back:
		for k > 0 && list[k].hash != hashMixed && list[k].hash != hashWithdrawn {
			before := list[k-1]
			switch {
			case before.hash == hashMixed || between(others, before.block, list[k].block):
				out = append(out, list[k].block) // it may be here, or there
			case before.hash != list[k].hash:
				break back
			}
			k--
		}
		out = append(out, list[k].block)
		if k > 0 {
			h := keys[id.key]
			cuts[routeName{id.holder, h.Family, string(h.Key)}] = list[k].block
		}
	}
	return out, cuts
}

// withBlocks adds some of all blocks to a list of them; all is in their order, and what is returned, too.
func withBlocks(list, all []*info, more []uint64) []*info {
	bySeq := func(i *info, seq uint64) int { return cmp.Compare(i.seq, seq) }
	slices.Sort(more)
	out := slices.Clone(list)
	for _, seq := range slices.Compact(more) {
		if n, ok := slices.BinarySearchFunc(all, seq, bySeq); ok && all[n].count > 0 {
			if _, ok := slices.BinarySearchFunc(list, seq, bySeq); !ok {
				out = append(out, all[n])
			}
		}
	}
	slices.SortFunc(out, func(a, b *info) int { return cmp.Compare(a.seq, b.seq) })
	return out
}

// byKey are the keys asked for by what they are listed as with a seed.
func (v *mentions) byKey(seed uint64) map[uint64][]int {
	of := make(map[uint64][]int)
	for n, k := range v.keys {
		key := listKey(seed, k.Family, k.Key)
		of[key] = append(of[key], n)
	}
	return of
}

// pending takes what is not stored yet, of a list with this seed.
func (v *mentions) pending(l *keyList, seed uint64) {
	if len(v.keys) == 0 {
		return
	}
	of := v.byKey(seed)
	take := func(e *touch, block uint64) {
		for _, k := range of[e.key&^0xffff] {
			id := routeID{k, l.holders[e.holder()]}
			list := v.routes[id]
			if n := len(list); n > 0 && list[n-1].block == block {
				if list[n-1].hash != e.hash {
					list[n-1].hash = hashMixed
				}
				continue
			}
			v.routes[id] = append(list, mention{block, e.hash})
		}
	}
	for n := range l.sorted {
		take(&l.sorted[n], l.blocks[l.sorted[n].block].seq)
	}
	for _, b := range l.blocks {
		for n := range b.routes {
			take(&b.routes[n], b.seq)
		}
	}
}

// stored takes what a stored list says, or nothing. d is the caller's copy.
func (c *catalog) stored(ctx context.Context, d *directory, v *mentions) error {
	found := &mentions{routes: make(map[routeID][]mention)}
	of := v.byKey(d.seed)
	wanted := make([]bool, len(d.parts)) // parts that may have one of the keys
	for key := range of {
		n, _ := slices.BinarySearchFunc(d.parts, key>>16, func(p keysPart, key uint64) int { return cmp.Compare(p.first, key) })
		if n > 0 {
			wanted[n-1] = true
		}
		for ; n < len(d.parts) && d.parts[n].first == key>>16; n++ {
			wanted[n] = true
		}
	}
	for n, p := range d.parts {
		if !wanted[n] {
			continue
		}
		m, err := c.message(ctx, p.seq)
		if err != nil {
			return err
		}
		raw, err := unpacked(m.Data)
		if err == nil {
			err = found.part(raw, d, of)
		}
		if err != nil {
			return &listError{p.seq, m.Time, err}
		}
	}
	for id, list := range found.routes {
		v.routes[id] = append(v.routes[id], list...)
	}
	return nil
}

// part takes the entries of keys, given by what they are listed as.
func (v *mentions) part(raw []byte, d *directory, of map[uint64][]int) error {
	s := source{b: raw}
	for key := uint64(0); len(s.b) > 0; {
		key += s.uvarint()
		wanted := of[key<<16]
		var who, block uint64
		for n := s.uvarint(); n > 0 && !s.bad; n-- {
			if more := s.uvarint(); more != 0 {
				who, block = who+min(more, listHolders+1), 0
			}
			block += min(s.uvarint(), listBlocks+1)
			hash := s.take(4)
			if block >= uint64(len(d.blocks)) || who >= uint64(len(d.holders)) {
				return errCut // whatever is asked for: the numbers after it are wrong, too
			}
			if wanted == nil || s.bad {
				continue
			}
			for _, k := range wanted {
				id := routeID{k, d.holders[who]}
				v.routes[id] = append(v.routes[id], mention{d.blocks[block], binary.LittleEndian.Uint32(hash)})
			}
		}
		if s.bad {
			return errCut
		}
	}
	return nil
}

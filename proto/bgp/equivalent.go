package bgp

import "bytes"

// Equivalent reports whether two records say the same of a route although their bytes differ: in the width of the AS
// numbers, in the order of the attributes or in the form of their lengths. Routers code a route anew when they dump it
// after a reconnect, and it is the same route still.
func Equivalent(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if !bytes.Equal(RecordExtra(a), RecordExtra(b)) {
		return false
	}
	return includes(a, b) && includes(b, a) &&
		bytes.Equal(AppendASPath(nil, a), AppendASPath(nil, b))
}

// includes reports whether every attribute of a is in b, the AS path left out: its width and AS4_PATH are a matter of
// coding, and so are those of the aggregator.
func includes(a, b []byte) bool {
	it := attrs{rest: RecordAttrs(a)}
	for it.next() {
		switch it.code {
		case AttrASPath, AttrAS4Path, AttrAS4Aggregator:
			continue
		}
		v, ok := FindAttr(b, it.code)
		if !ok {
			return false
		}
		if it.code == AttrAggregator {
			as1, ip1 := recordAggregator(a)
			as2, ip2 := recordAggregator(b)
			if as1 != as2 || !bytes.Equal(ip1, ip2) {
				return false
			}
		} else if !bytes.Equal(it.value, v) {
			return false
		}
	}
	return len(it.rest) == 0
}

// recordAggregator is AGGREGATOR with AS4_AGGREGATOR put in, RFC 6793, Section 4.2.3.
func recordAggregator(rec []byte) (as uint32, ip []byte) {
	v, _ := FindAttr(rec, AttrAggregator)
	w := width(RecordAS4(rec))
	if len(v) != w+4 {
		return 0, v
	}
	as, ip = asNumber(v, w), v[w:]
	if v4, ok := FindAttr(rec, AttrAS4Aggregator); ok && as == asTrans && len(v4) == 8 {
		as, ip = asNumber(v4, 4), v4[4:]
	}
	return as, ip
}

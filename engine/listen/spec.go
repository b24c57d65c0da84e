package listen

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MaxPort is the highest port a listener may have: the control port is the one above it.
const MaxPort = 65534

// maxLimit bounds what `limit` takes; a listener with more sessions than this has no limit worth writing.
const maxLimit = 1_000_000

// Spec says where a listener is and whom it takes. It is a plain value; the zero Spec is not valid because it has no
// port.
type Spec struct {
	Netns string         // name under /run/netns; empty for the namespace the station runs in
	Addr  netip.Addr     // zero for every address, IPv4 and IPv6
	Port  uint16         // 1 to MaxPort; 0, which cannot be written, lets the kernel choose
	VRF   string         // device the socket is bound to; empty for none
	Allow []netip.Prefix // who may connect; empty for everybody
	Limit int            // most sessions at once; 0 for no limit
	MD5   MD5            // the key that routers sign segments with; zero for none
	TLS   TLS            // the certificate of the listener; zero for none
}

// A SpecError is a listener that was written wrong.
type SpecError struct {
	Word string // the word at fault; empty if one is missing at the end
	Msg  string // what is wrong with it, or what was expected
}

func (e *SpecError) Error() string {
	if e.Word == "" {
		return e.Msg
	}
	return fmt.Sprintf("'%s': %s", e.Word, e.Msg)
}

// ParseSpec reads a listener as it is typed: its place first, then its options in any order; a file name with blanks
// is in double quotes. The error is a *SpecError.
func ParseSpec(text string) (Spec, error) {
	words, err := SplitWords(text, "")
	if err != nil {
		return Spec{}, err
	}
	if len(words) == 0 {
		return Spec{}, &SpecError{Msg: "expected [NETNS/][ADDR:]PORT"}
	}
	s, err := ParsePlace(words[0])
	if err != nil {
		return Spec{}, err
	}
	o := options{words: words[1:]}
	for o.next() {
		switch o.word {
		case "vrf":
			s.VRF = o.device()
		case "allow":
			o.repeats = true
			p, err := ParseAllow(o.value())
			o.fail(err)
			s.Allow = append(s.Allow, p)
		case "limit":
			word := o.value()
			n, err := strconv.Atoi(word)
			if err != nil || n < 1 || n > maxLimit {
				o.fail(&SpecError{Word: word, Msg: fmt.Sprintf("expected a number of sessions, 1 to %d", maxLimit)})
			}
			s.Limit = n
		case "md5":
			s.MD5 = o.md5()
		case "tls":
			s.TLS.Cert, s.TLS.Key = o.value(), o.value()
		case "ca":
			s.TLS.CA = o.value()
		default:
			o.unknown("vrf, allow, limit, md5, tls or ca")
		}
	}
	if o.err == nil && s.TLS.CA != "" && s.TLS.Cert == "" {
		o.err = &SpecError{Word: "ca", Msg: "goes with tls"}
	}
	if o.err != nil {
		return Spec{}, o.err
	}
	return s, nil
}

// ParsePlace reads [NETNS/][ADDR:]PORT alone, as it names a listener in `no listen`.
func ParsePlace(word string) (Spec, error) {
	var s Spec
	netns, place, err := SplitNetns(word)
	if err != nil {
		return Spec{}, err
	}
	s.Netns = netns
	port := place
	if i := strings.LastIndexByte(place, ':'); i >= 0 {
		host := place[:i]
		port = place[i+1:]
		bracketed := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")
		if bracketed {
			host = host[1 : len(host)-1]
		}
		addr, err := netip.ParseAddr(host)
		switch {
		case err != nil:
			return Spec{}, &SpecError{Word: word, Msg: "expected [NETNS/][ADDR:]PORT with an address A.B.C.D or [X:X::X:X]"}
		case addr.Is6() && !bracketed:
			return Spec{}, &SpecError{Word: word, Msg: "an IPv6 address goes in brackets, [" + host + "]:PORT"}
		case addr.Is4() && bracketed:
			return Spec{}, &SpecError{Word: word, Msg: "brackets are for IPv6 addresses"}
		}
		s.Addr = addr.Unmap()
	}
	if s.Port, err = ParsePort(port); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// SplitNetns cuts the optional NETNS/ off the front of a place and checks the name.
func SplitNetns(word string) (netns, rest string, err error) {
	i := strings.LastIndexByte(word, '/')
	if i < 0 {
		return "", word, nil
	}
	netns = word[:i]
	if netns == "" || netns == "." || netns == ".." || strings.ContainsAny(netns, "/\x00") {
		return "", "", &SpecError{Word: word, Msg: "the part before '/' must be the name of a network namespace"}
	}
	return netns, word[i+1:], nil
}

// ParsePort reads a BMP port, 1 to MaxPort.
func ParsePort(word string) (uint16, error) {
	n, err := strconv.ParseUint(word, 10, 16)
	if err != nil || n < 1 || n > MaxPort || word[0] == '+' {
		return 0, &SpecError{Word: word, Msg: fmt.Sprintf("expected a port, 1 to %d", MaxPort)}
	}
	return uint16(n), nil
}

// ParseAllow reads a prefix of an allow-list; an address alone means that address. Bits set after the prefix are an
// error rather than dropped: they are as likely a wrong length as a sloppy network.
func ParseAllow(word string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(word); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(word)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, &SpecError{Word: word, Msg: "expected a prefix, A.B.C.D/N or X:X::X:X/N"}
	}
	if p != p.Masked() {
		return netip.Prefix{}, &SpecError{Word: word, Msg: "bits set after the prefix length; the network is " + p.Masked().String()}
	}
	return p, nil
}

// Name is the listener's place, [NETNS/][ADDR:]PORT, as `no listen` takes it.
func (s Spec) Name() string {
	var b strings.Builder
	if s.Netns != "" {
		b.WriteString(s.Netns)
		b.WriteByte('/')
	}
	port := strconv.Itoa(int(s.Port))
	if s.Addr.IsValid() {
		b.WriteString(net.JoinHostPort(s.Addr.String(), port))
	} else {
		b.WriteString(port)
	}
	return b.String()
}

// String writes the listener as ParseSpec reads it, its MD5 key included.
func (s Spec) String() string {
	var b strings.Builder
	b.WriteString(s.Name())
	if s.VRF != "" {
		b.WriteString(" vrf " + s.VRF)
	}
	for _, p := range s.Allow {
		b.WriteString(" allow " + p.String())
	}
	if s.Limit > 0 {
		b.WriteString(" limit " + strconv.Itoa(s.Limit))
	}
	b.WriteString(s.MD5.option())
	if s.TLS.Cert != "" {
		b.WriteString(" tls " + quoteWord(s.TLS.Cert) + " " + quoteWord(s.TLS.Key))
	}
	if s.TLS.CA != "" {
		b.WriteString(" ca " + quoteWord(s.TLS.CA))
	}
	return b.String()
}

// SamePlace says whether two listeners would want the same socket: namespace, address, port and device are equal.
func (s Spec) SamePlace(t Spec) bool {
	return s.Netns == t.Netns && s.Addr == t.Addr && s.Port == t.Port && s.VRF == t.VRF
}

// WithDefaults fills in namespace and address where the listener names none, as -n and -a do for every -s.
func (s Spec) WithDefaults(netns string, addr netip.Addr) Spec {
	if s.Netns == "" {
		s.Netns = netns
	}
	if !s.Addr.IsValid() {
		s.Addr = addr
	}
	return s
}

// Allowed says whether an allow-list takes an address; an empty list takes every one. An IPv4 address that came
// through an IPv6 socket counts as IPv4.
func Allowed(list []netip.Prefix, a netip.Addr) bool {
	if len(list) == 0 {
		return true
	}
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

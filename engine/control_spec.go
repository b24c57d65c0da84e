package engine

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"bmp/engine/listen"
	"bmp/proto/control"
)

// A ControlSpec is a further control listener: [NETNS/]ADDR[:PORT][,tls CERT KEY][,allow PREFIX]...[,role view|admin].
//
// With tls, a console may do nothing until `auth`; Role is the most that auth gives there, admin if not written.
// Without tls the listener must have an allow-list, gives view, and takes no secret, because it would be sent in clear.
type ControlSpec struct {
	Netns string
	Addr  netip.Addr // always set; 0.0.0.0 or :: for every address
	Port  uint16     // 0: the station's own control port
	Cert  string     // file, PEM; empty without tls
	Key   string     // file, PEM
	Allow []netip.Prefix
	Role  control.Role
}

// TLS says whether the listener speaks TLS.
func (s ControlSpec) TLS() bool { return s.Cert != "" }

// ParseControlSpec reads a further control listener as it is written after --control, where commas part it, or after
// the command `control`, where blanks do; both are taken in both places. A file name with a blank or comma in it goes
// in double quotes. Errors are a *listen.SpecError.
func ParseControlSpec(text string) (ControlSpec, error) {
	words, err := listen.SplitWords(text, ",")
	if err != nil {
		return ControlSpec{}, err
	}
	if len(words) == 0 {
		return ControlSpec{}, &listen.SpecError{Msg: "expected [NETNS/]ADDR[:PORT]"}
	}
	if strings.ContainsFunc(words[0], func(r rune) bool { return r <= ' ' || r == '"' || r == utf8.RuneError }) {
		return ControlSpec{}, &listen.SpecError{Word: words[0], Msg: "expected [NETNS/]ADDR[:PORT] without blanks and quotes"}
	}
	s, err := parseControlPlace(words[0])
	if err != nil {
		return ControlSpec{}, err
	}
	rest := words[1:]
	for len(rest) > 0 {
		word, values := rest[0], 1
		switch word {
		case "tls":
			values = 2
		case "allow", "role":
		default:
			return ControlSpec{}, &listen.SpecError{Word: word, Msg: "expected tls, allow or role"}
		}
		if len(rest) <= values {
			return ControlSpec{}, &listen.SpecError{Msg: "a value is missing after '" + word + "'"}
		}
		value := rest[1]
		switch word {
		case "tls":
			if s.TLS() {
				return ControlSpec{}, &listen.SpecError{Word: word, Msg: "given twice"}
			}
			for _, file := range rest[1:3] {
				if file == "" || strings.ContainsFunc(file, func(r rune) bool { return r < ' ' || r == '"' || r == utf8.RuneError }) {
					return ControlSpec{}, &listen.SpecError{Word: file, Msg: "expected a file name without quotes and control characters"}
				}
			}
			s.Cert, s.Key = value, rest[2]
		case "allow":
			p, err := listen.ParseAllow(value)
			if err != nil {
				return ControlSpec{}, err
			}
			s.Allow = append(s.Allow, p)
		case "role":
			if s.Role != control.RoleNone {
				return ControlSpec{}, &listen.SpecError{Word: word, Msg: "given twice"}
			}
			switch value {
			case "view":
				s.Role = control.RoleView
			case "admin":
				s.Role = control.RoleAdmin
			default:
				return ControlSpec{}, &listen.SpecError{Word: value, Msg: "expected view or admin"}
			}
		}
		rest = rest[1+values:]
	}
	return s, s.check()
}

// check applies the rules about what may go without TLS, and fills in the role.
func (s *ControlSpec) check() error {
	switch {
	case s.TLS() && s.Role == control.RoleNone:
		s.Role = control.RoleAdmin
	case s.TLS():
	case len(s.Allow) == 0:
		return &listen.SpecError{Msg: "a control listener needs tls or allow"}
	case s.Role == control.RoleAdmin:
		return &listen.SpecError{Word: "admin", Msg: "a control listener without tls gives view only"}
	default:
		s.Role = control.RoleView
	}
	return nil
}

func parseControlPlace(word string) (ControlSpec, error) {
	netns, place, err := listen.SplitNetns(word)
	if err != nil {
		return ControlSpec{}, err
	}
	s := ControlSpec{Netns: netns}
	bad := &listen.SpecError{Word: word, Msg: "expected [NETNS/]ADDR[:PORT] with an address A.B.C.D, X:X::X:X or [X:X::X:X]"}
	// An IPv6 address without brackets has no port after it.
	if s.Addr, err = netip.ParseAddr(place); err == nil {
		s.Addr = s.Addr.Unmap()
		return s, nil
	}
	host, port, hasPort := place, "", false
	if strings.HasPrefix(place, "[") {
		end := strings.IndexByte(place, ']')
		if end < 0 {
			return ControlSpec{}, bad
		}
		host, port = place[1:end], place[end+1:]
		if port != "" {
			if port[0] != ':' {
				return ControlSpec{}, bad
			}
			port, hasPort = port[1:], true
		}
	} else {
		host, port, hasPort = strings.Cut(place, ":")
	}
	if s.Addr, err = netip.ParseAddr(host); err != nil || s.Addr.Is4() == strings.HasPrefix(place, "[") {
		return ControlSpec{}, bad
	}
	s.Addr = s.Addr.Unmap()
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '+' {
			return ControlSpec{}, &listen.SpecError{Word: word, Msg: "expected a port, 1 to 65535"}
		}
		s.Port = uint16(n)
	}
	return s, nil
}

// Name is the listener's place, [NETNS/]ADDR:PORT, as `no control` takes it.
func (s ControlSpec) Name() string {
	name := netip.AddrPortFrom(s.Addr, s.Port).String()
	if s.Port == 0 {
		name = s.Addr.String()
	}
	if s.Netns != "" {
		name = s.Netns + "/" + name
	}
	return name
}

// String writes the listener as ParseControlSpec reads it, with blanks: an argument of the command `control`.
func (s ControlSpec) String() string {
	var b strings.Builder
	b.WriteString(s.Name())
	if s.TLS() {
		fmt.Fprintf(&b, " tls %s %s", quoteWord(s.Cert), quoteWord(s.Key))
	}
	for _, p := range s.Allow {
		b.WriteString(" allow " + p.String())
	}
	if s.Role != control.RoleNone {
		b.WriteString(" role " + s.Role.String())
	}
	return b.String()
}

func quoteWord(s string) string {
	if strings.ContainsAny(s, ", \t") {
		return `"` + s + `"`
	}
	return s
}

package listen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialTimeout is how long a router may take to accept. A dial in another namespace holds a thread for so long.
const dialTimeout = 10 * time.Second

// Remote is a router that waits to be dialled, and how: [NETNS/]ADDR:PORT and options. It is a plain value and may be
// compared.
type Remote struct {
	Netns string // empty for the namespace the station runs in
	Addr  netip.AddrPort
	VRF   string // device the socket is bound to; empty for none
	MD5   MD5
	TLS   bool
	CA    string // file of the certificates that TLS trusts; empty for those of the machine
}

// ParseRemote reads a router as it is typed. The error is a *SpecError.
func ParseRemote(text string) (Remote, error) {
	words, err := SplitWords(text, "")
	if err != nil {
		return Remote{}, err
	}
	if len(words) == 0 {
		return Remote{}, &SpecError{Msg: "expected [NETNS/]ADDR:PORT"}
	}
	r, err := ParseRemotePlace(words[0])
	if err != nil {
		return Remote{}, err
	}
	o := options{words: words[1:]}
	for o.next() {
		switch o.word {
		case "netns":
			name := o.value()
			if r.Netns != "" {
				o.fail(&SpecError{Word: name, Msg: "a second network namespace"})
			}
			if r.Netns, _, err = SplitNetns(name + "/"); err != nil {
				o.fail(&SpecError{Word: name, Msg: "expected the name of a network namespace"})
			}
		case "vrf":
			r.VRF = o.device()
		case "md5":
			r.MD5 = o.md5()
		case "tls":
			r.TLS = true
		case "ca":
			r.CA = o.value()
		default:
			o.unknown("netns, vrf, md5, tls or ca")
		}
	}
	if o.err == nil && r.CA != "" && !r.TLS {
		o.err = &SpecError{Word: "ca", Msg: "goes with tls"}
	}
	if o.err != nil {
		return Remote{}, o.err
	}
	return r, nil
}

// ParseRemotePlace reads [NETNS/]ADDR:PORT alone, as it names a router in `no connect`.
func ParseRemotePlace(word string) (Remote, error) {
	netns, place, err := SplitNetns(word)
	if err != nil {
		return Remote{}, err
	}
	addr, err := netip.ParseAddrPort(place)
	if err != nil || addr.Port() == 0 {
		return Remote{}, &SpecError{Word: word, Msg: "expected [NETNS/]ADDR:PORT with an address A.B.C.D or [X:X::X:X]"}
	}
	return Remote{Netns: netns, Addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}, nil
}

// Name is the router's place, [NETNS/]ADDR:PORT, as `no connect` takes it.
func (r Remote) Name() string {
	if r.Netns == "" {
		return r.Addr.String()
	}
	return r.Netns + "/" + r.Addr.String()
}

// String writes the router as ParseRemote reads it, its MD5 key included.
func (r Remote) String() string {
	var b strings.Builder
	b.WriteString(r.Name())
	if r.VRF != "" {
		b.WriteString(" vrf " + r.VRF)
	}
	b.WriteString(r.MD5.option())
	if r.TLS {
		b.WriteString(" tls")
	}
	if r.CA != "" {
		b.WriteString(" ca " + quoteWord(r.CA))
	}
	return b.String()
}

// Dial connects to a router once, with dead peer detection on. Where the machine lacks what it needs the error is a
// *NoNamespaceError, *PlaceError or *CapabilityError; else it is why the router did not take the connection.
func Dial(ctx context.Context, r Remote) (*Conn, error) {
	key, err := r.MD5.read()
	if err != nil {
		return nil, err
	}
	var config *tls.Config
	if r.TLS {
		if config, err = clientTLS(r); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var tcp *net.TCPConn
	err = In(r.Netns, func() error {
		addr, err := numericZone(r.Addr.Addr())
		if err != nil {
			return err
		}
		d := net.Dialer{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
			return control(c, func(fd int) error {
				if r.VRF != "" {
					if err := unix.BindToDevice(fd, r.VRF); err != nil {
						return err
					}
				}
				if !r.MD5.Set() {
					return nil
				}
				return signWith(fd, addr.Is6(), key, []netip.Prefix{netip.PrefixFrom(addr.WithZone(""), addr.BitLen())})
			})
		}}
		d.SetMultipathTCP(false)
		// One address and no name: the socket is made by this thread, which is in the namespace.
		c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(addr, r.Addr.Port()).String())
		if err != nil {
			return dialError(r, err)
		}
		tcp = c.(*net.TCPConn)
		return nil
	})
	if err != nil {
		return nil, err
	}
	// An error here means that the session is dead already; its first read will tell.
	_ = DetectDeadPeer(tcp, DeadPeerTimeout)
	c := &Conn{TCPConn: tcp, from: r.Addr}
	if config != nil {
		c.secure(tls.Client(tcp, config))
	}
	return c, nil
}

func dialError(r Remote, err error) error {
	elsewhere := where(Spec{Netns: r.Netns})
	switch {
	case errors.Is(err, unix.ENODEV):
		return &PlaceError{Text: fmt.Sprintf("No device '%s'%s%s", r.VRF, elsewhere, devices())}
	case errors.Is(err, unix.EPERM) && r.VRF != "":
		return &CapabilityError{What: "Device " + r.VRF, Capability: "CAP_NET_RAW"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer within %v", dialTimeout)
	}
	return AcceptCause(err)
}

func clientTLS(r Remote) (*tls.Config, error) {
	c := &tls.Config{ServerName: r.Addr.Addr().WithZone("").String(), MinVersion: tls.VersionTLS12}
	if r.CA == "" {
		return c, nil
	}
	pool, err := certificates(r.CA)
	c.RootCAs = pool
	return c, err
}

// serverTLS is what a listener needs for TLS.
func serverTLS(t TLS) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, &PlaceError{Text: fmt.Sprintf("TLS: %v", err)}
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if t.CA == "" {
		return c, nil
	}
	pool, err := certificates(t.CA)
	c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
	return c, err
}

func certificates(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, &PlaceError{Text: fmt.Sprintf("TLS: %v", err)}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &PlaceError{Text: fmt.Sprintf("TLS: no certificate in %s", file)}
	}
	return pool, nil
}

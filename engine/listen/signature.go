package listen

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// maxMD5Key is is the longest key the kernel takes, in octets.
const maxMD5Key = unix.TCP_MD5SIG_MAXKEYLEN

// MD5 is the key of a TCP MD5 signature (RFC 2385), with which the kernel signs every segment of a session and drops
// those that are not signed so. The zero MD5 is none.
type MD5 struct {
	Key  string // itself, or
	File string // the file that holds it, a line end after it aside; read when the socket is made
}

// Set says whether there is a key.
func (m MD5) Set() bool { return m != MD5{} }

// option writes it as an option of a listener.
func (m MD5) option() string {
	switch {
	case m.File != "":
		return " md5 file " + quoteWord(m.File)
	case m.Key != "":
		return " md5 " + quoteWord(m.Key)
	}
	return ""
}

func (m MD5) read() ([]byte, error) {
	if m.File == "" {
		return []byte(m.Key), nil
	}
	key, err := os.ReadFile(m.File)
	if err != nil {
		return nil, &PlaceError{Text: fmt.Sprintf("MD5 key: %v", err)}
	}
	key = bytes.TrimRight(key, "\r\n")
	if len(key) == 0 || len(key) > maxMD5Key {
		return nil, &PlaceError{Text: fmt.Sprintf("MD5 key: %s holds %d octets, not 1 to %d", m.File, len(key), maxMD5Key)}
	}
	return key, nil
}

// everybody is whom a key is for where no allow-list names networks.
var everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// signWith sets the key for the networks on a socket, which takes IPv4 as IPv6 addresses where it is six.
func signWith(fd int, six bool, key []byte, networks []netip.Prefix) error {
	if len(networks) == 0 {
		networks = everybody
	}
	for _, n := range networks {
		if n.Addr().Is6() && !six {
			continue
		}
		sig := unix.TCPMD5Sig{Flags: unix.TCP_MD5SIG_FLAG_PREFIX, Prefixlen: uint8(n.Bits()), Keylen: uint16(len(key))}
		copy(sig.Key[:], key)
		// The rest of a struct sockaddr, as tcp(7) wants it: a port of zero, then the address; one of IPv6 has the flow before it.
		if six {
			sig.Addr.Family = unix.AF_INET6
			a := n.Addr().As16()
			copy(sig.Addr.Data[6:], a[:])
		} else {
			sig.Addr.Family = unix.AF_INET
			a := n.Addr().As4()
			copy(sig.Addr.Data[2:], a[:])
		}
		if err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT, &sig); err != nil {
			return fmt.Errorf("MD5 key for %s: %w", n, err)
		}
	}
	return nil
}

// TLS is the certificate of a listener. The zero TLS is none.
type TLS struct {
	Cert, Key string // files, PEM
	CA        string // file of the certificates that routers' own must be signed by; empty: routers show none
}

package control

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"time"
)

// authCode is what `auth hmac` wants: HMAC-SHA256 of the nonce, as it is written in the greeting, under a secret.
func authCode(secret, nonce string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(nonce))
	return hex.EncodeToString(m.Sum(nil))
}

// auth raises the role of the connection. What is said here is in no log and in no event.
func (c *Conn) auth(ctx context.Context, words []string) (int, string) {
	if c.role == RoleAdmin {
		return CodeAuthenticated, "Authenticated role=" + c.role.String()
	}
	if c.link.NoAuth {
		return CodeForbidden, "No login on this connection"
	}
	if len(words) == 0 {
		return CodeChallenge, "Send auth hmac HEX: HMAC-SHA256 of the nonce under the secret. nonce=" + c.nonce
	}
	if len(words) != 2 || words[0] != "hmac" && words[0] != "token" {
		return CodeInvalid, "@1+4 Invalid input: expected auth hmac HEX, or auth token SECRET"
	}
	if words[0] == "token" && !c.link.Token {
		return CodeForbidden, "No secret in clear on this connection: use auth hmac"
	}
	var keys []Key
	if c.server.o.Keys != nil {
		keys = c.server.o.Keys()
	}
	got := RoleNone
	for _, k := range keys {
		want := k.Secret
		if words[0] == "hmac" {
			want = authCode(k.Secret, c.nonce)
		}
		// Both sides are hashed, so that neither content nor length shows in the time taken.
		a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(words[1]))
		if subtle.ConstantTimeCompare(a[:], b[:]) == 1 && k.Role > got && k.Secret != "" {
			got = k.Role
		}
	}
	if got == RoleNone {
		c.failures++
		wait := time.NewTimer(c.server.o.AuthDelay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-c.ctx.Done(): // a cancel does not shorten it
		}
		if c.failures >= 3 {
			return CodeLogin, "Authentication failed too often, closing"
		}
		c.newNonce()
		return CodeLogin, "Authentication failed nonce=" + c.nonce
	}
	if c.link.Most != RoleNone {
		got = min(got, c.link.Most)
	}
	c.mu.Lock()
	c.role = max(c.role, got)
	c.mu.Unlock()
	c.failures = 0
	c.newNonce()
	text := "Authenticated role=" + c.role.String()
	if c.nonce != "" {
		text += " nonce=" + c.nonce
	}
	return CodeAuthenticated, text
}

package control

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// answer runs one request and returns its verdict.
func (c *Conn) answer(ctx context.Context, t token) (int, string) {
	switch t.kind {
	case badToken:
		return CodeBadBytes, fmt.Sprintf("@%d+%d Bad bytes: %s", t.col, t.len, t.why)
	case longToken:
		return CodeTooLong, fmt.Sprintf("@%d+0 Line too long: at most %d bytes", MaxLine+1, MaxLine)
	}
	line := t.line
	word, rest, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
	switch word {
	case "":
		return CodeDone, "0 rows"
	case "hello":
		return c.hello(line)
	case "auth":
		return c.auth(ctx, strings.Fields(rest))
	case "exit", "quit":
		if strings.TrimSpace(rest) == "" {
			return CodeBye, "Bye"
		}
	}
	if c.role == RoleNone {
		return CodeLogin, "Log in first: auth hmac HEX, or auth token SECRET"
	}
	switch word {
	case "grammar":
		return c.grammarReply(ctx)
	case "complete":
		return c.complete(ctx, rest)
	case "help":
		return c.help(ctx, rest)
	}
	return c.command(ctx, line)
}

// env is what lines are judged by.
func (c *Conn) env() grammar.Env {
	return grammar.Env{Now: time.Now(), Zone: c.zone, Strict: c.strict}
}

func (c *Conn) request(line string, m *grammar.Match, env grammar.Env) *Request {
	return &Request{Line: line, Match: m, Role: c.role, Who: c.link.Who, Format: c.format, Width: c.width, Zone: c.zone, Now: env.Now, Conn: c}
}

// command runs a command of the tree.
func (c *Conn) command(ctx context.Context, line string) (int, string) {
	env := c.env()
	m, err := c.tree.Match(line, env)
	if err != nil {
		return verdictOf(err)
	}
	words := strings.Join(m.Words, " ")
	switch {
	case m.Command.Local:
		return CodeForbidden, fmt.Sprintf("'%s' works only in the shell (bmp shell)", words)
	case !c.role.may(m.Command):
		return CodeForbidden, fmt.Sprintf("'%s' needs the role admin, this is %s (see 'auth')", words, c.role)
	}
	p, err := filter.Parse(m.Rest, m.RestCol, filter.Options{Strict: c.strict, Budget: &c.server.held})
	if err != nil {
		return verdictOf(err)
	}
	q := c.request(line, m, env)
	c.mu.Lock()
	c.line = m.Redacted()
	if m.RestCol > 0 {
		c.line += " |" + m.Rest
	}
	c.mu.Unlock()
	w := p.Start(replySink{ctx, c.out}, c.format)
	q.Format = w.Format()
	r := &Reply{Writer: w, ctx: ctx, conn: c}
	if own, ok := ownCommands[m.Command.ID]; ok {
		err = own(c, q, r)
	} else {
		audited := m.Command.Role == grammar.Admin && c.server.o.Audit != nil
		if audited {
			c.server.o.Audit(q, m.Redacted(), "")
		}
		err = c.server.o.Handler.Execute(ctx, q, r)
		if code, text := verdictOf(err); audited && code != CodeDone && ctx.Err() == nil {
			c.server.o.Audit(q, m.Redacted(), withoutPlace(text))
		}
	}
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = context.Cause(ctx)
	}
	code, text := verdictOf(err)
	if code/100 == 5 && !strings.HasPrefix(text, "@") {
		text = fmt.Sprintf("@1+%d %s", len(line), text) // the handler named no place: all of it
	}
	result, err := w.Finish(code != CodeDone)
	if code != CodeDone {
		return code, text
	}
	if err != nil {
		return verdictOf(err)
	}
	switch {
	case ctx.Err() != nil:
		return verdictOf(context.Cause(ctx))
	case result.Nothing:
		return CodeNothing, "0 rows"
	case r.subscribed != 0:
		return CodeSubscribed, "Subscribed id=" + strconv.Itoa(r.subscribed)
	case r.text != "":
		return CodeDone, r.text
	}
	return CodeDone, fmt.Sprintf("%d rows", result.Rows)
}

// withoutPlace is the first line of the text of a verdict, without the place in the line that it may begin with.
func withoutPlace(text string) string {
	if rest, ok := strings.CutPrefix(text, "@"); ok {
		_, text, _ = strings.Cut(rest, " ")
	}
	text, _, _ = strings.Cut(text, "\n")
	return text
}

// valuesEnv is env with live values.
func (c *Conn) valuesEnv(line string) grammar.Env {
	env := c.env()
	env.Values = func(ctx context.Context, kind, partial string, m *grammar.Match) []grammar.Candidate {
		return c.server.o.Handler.Values(ctx, c.request(line, nil, env), kind, partial, m)
	}
	return env
}

// complete answers Tab; positions are in line.
func (c *Conn) complete(ctx context.Context, line string) (int, string) {
	bounded, done := context.WithTimeout(ctx, c.server.o.CompleteTimeout)
	defer done()
	x := c.tree.Complete(bounded, line, c.valuesEnv(line))
	for _, k := range x.Candidates {
		if err := c.out.reply(ctx, CodeCandidate, '-', tabbed(k.Text, k.Help)); err != nil {
			return verdictOf(err)
		}
	}
	return CodeDone, fmt.Sprintf("replace=%d+%d prefix=%s", x.Col, x.Len, x.Prefix)
}

// help answers `?`; positions are in line.
func (c *Conn) help(ctx context.Context, line string) (int, string) {
	bounded, done := context.WithTimeout(ctx, c.server.o.CompleteTimeout)
	defer done()
	items := c.tree.Help(bounded, line, c.valuesEnv(line))
	for _, x := range items {
		if err := c.out.reply(ctx, CodeHelp, '-', tabbed(x.Word, x.Help, x.Next)); err != nil {
			return verdictOf(err)
		}
	}
	if len(items) == 0 {
		if _, err := c.tree.Match(line, c.env()); err != nil {
			if code, text := verdictOf(err); code != CodeIncomplete {
				return code, text
			}
		}
	}
	return CodeDone, fmt.Sprintf("%d rows", len(items))
}

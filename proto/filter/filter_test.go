package filter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"bmp/proto/grammar"
)

// sink keeps lines with what they are: H heading, R row, J JSON.
type sink struct{ b strings.Builder }

func (s *sink) put(kind string, text []byte) error {
	fmt.Fprintf(&s.b, "%s|%s\n", kind, text)
	return nil
}
func (s *sink) Heading(text []byte) error { return s.put("H", text) }
func (s *sink) Row(text []byte) error     { return s.put("R", text) }
func (s *sink) JSON(text []byte) error    { return s.put("J", text) }

// jsonText joins the JSON lines of what a sink took.
func jsonText(out string) string {
	var b strings.Builder
	for l := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(l, "J|"); ok {
			b.WriteString(rest)
		}
	}
	return b.String()
}

type clientRow struct {
	ID      int    `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"`
	Bytes   int    `json:"bytes"`
	Name    string `json:"name"`
}

var clientColumns = []Column{
	{Name: "ID", Width: 2, Right: true},
	{Name: "Address:Port", Key: "address", Heading: " Address:Port", Width: 19, Gap: 3},
	{Name: "State", Width: 6},
	{Name: "Data", Key: "bytes", Width: 7, Right: true},
	{Name: "Name"},
}

var clients = []struct {
	cells []string
	json  clientRow
}{
	{[]string{"1", "1.1.1.1:12234", "up", "2.2MB", "edge1.ams"}, clientRow{1, "1.1.1.1:12234", "up", 2306867, "edge1.ams"}},
	{[]string{"2", "2.2.2.2:23423", "down", "900B", "edge2.ams"}, clientRow{2, "2.2.2.2:23423", "down", 900, "edge2.ams"}},
	{[]string{"10", "[2001:db8::1]:12234", "up", "1.1GB", "core"}, clientRow{10, "[2001:db8::1]:12234", "up", 1181116006, "core"}},
	{[]string{"11", "10.0.0.1:5", "up", "30.0KB", "core"}, clientRow{11, "10.0.0.1:5", "up", 30720, "core"}},
}

// showClients is a handler as they are written.
func showClients(o Output) error {
	if err := o.Columns(clientColumns...); err != nil {
		return err
	}
	for _, c := range clients {
		if err := o.Record(Record{Cells: c.cells, JSON: c.json}); err != nil {
			return err
		}
	}
	return o.Trailer("4 clients")
}

// showClient prints free text.
func showClient(o Output) error {
	if err := o.Document(map[string]any{"id": 1, "name": "<edge>"}); err != nil {
		return err
	}
	for _, l := range []string{"Client 1", "  Name: edge", "  Peers", "    up: 3", "    down: 1", "  Uptime: 5m", "Sessions", "  1 now"} {
		if err := o.Line(l); err != nil {
			return err
		}
	}
	return nil
}

// showDetail prints paragraphs.
func showDetail(o Output) error {
	if err := o.Columns(Column{Name: "Prefix"}); err != nil {
		return err
	}
	for i := range 3 {
		err := o.Record(Record{
			Cells: []string{fmt.Sprintf("10.0.%d.0/24", i)},
			Lines: []string{fmt.Sprintf("10.0.%d.0/24", i), "  AS path: 65001", fmt.Sprintf("  MED: %d", i)},
			JSON:  map[string]int{"med": i},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func run(t *testing.T, filters string, format Format, handler func(Output) error) (string, Result, error) {
	t.Helper()
	col := 0
	if filters != "" {
		col = 10
	}
	p, err := Parse(filters, col, Options{})
	if err != nil {
		t.Fatalf("%q: %v", filters, err)
	}
	var s sink
	w := p.Start(&s, format)
	err = handler(w)
	if err == ErrDone {
		err = nil
	}
	r, err2 := w.Finish(err != nil)
	return s.b.String(), r, errors.Join(err, err2)
}

func TestText(t *testing.T) {
	heading := "H|ID    Address:Port        State      Data  Name\n"
	rows := []string{
		"R| 1   1.1.1.1:12234        up        2.2MB  edge1.ams\n",
		"R| 2   2.2.2.2:23423        down       900B  edge2.ams\n",
		"R|10   [2001:db8::1]:12234  up        1.1GB  core\n",
		"R|11   10.0.0.1:5           up       30.0KB  core\n",
	}
	for _, c := range []struct {
		filters string
		want    string
		n       int64
		nothing bool
	}{
		{"", heading + strings.Join(rows, "") + "R|4 clients\n", 4, false},
		{"no-more", heading + strings.Join(rows, "") + "R|4 clients\n", 4, false},
		{"include down", rows[1], 1, false},
		{"include DOWN", "", 0, true},
		{"include -i DOWN", rows[1], 1, false},
		{"include up|down", strings.Join(rows, ""), 4, false},
		{"include ' up '", rows[0] + rows[2] + rows[3], 3, false},
		{"include -q down", "", 0, false},
		{"include -q nothing", "", 0, true},
		{"exclude -q .", "", 0, true},
		{"exclude up", rows[1], 1, false},
		{"exclude .", "", 0, true},
		{"include nothing | count", "R|Count: 0\n", 1, false},
		{"count | include nothing", "", 0, true},
		{"begin 2\\.2\\.2", rows[1] + rows[2] + rows[3], 3, false},
		{"until down", rows[0] + rows[1], 2, false},
		{"section core", rows[2] + rows[3], 2, false},
		{"count", "R|Count: 4\n", 1, false},
		{"first 2", heading + rows[0] + rows[1], 2, false},
		{"last 1", heading + rows[3], 1, false},
		{"last 9", heading + strings.Join(rows, ""), 4, false},
		{"sort Data desc", heading + rows[2] + rows[0] + rows[3] + rows[1], 4, false},
		{"sort data", heading + rows[1] + rows[3] + rows[0] + rows[2], 4, false},
		{"sort addr", heading + rows[0] + rows[1] + rows[3] + rows[2], 4, false},
		{"sort Name desc | first 1 | no-header", rows[1], 1, false},
		{"columns Name,ID", "H|Name       ID\nR|edge1.ams   1\nR|edge2.ams   2\nR|core       10\nR|core       11\n", 4, false},
		{"columns name | uniq", "H|Name\nR|edge1.ams\nR|edge2.ams\nR|core\n", 3, false},
		{"columns name | uniq | no-header | count", "R|Count: 3\n", 1, false},
		{"columns addr | no-header | first 1", "R|1.1.1.1:12234\n", 1, false},
		{"include core | sort ID desc", strings.Join([]string{rows[3], rows[2]}, ""), 2, false}, // a heading dropped stays dropped, its columns are known
		{"include core | columns ID", "R|10\nR|11\n", 2, false},
	} {
		got, r, err := run(t, c.filters, Text, showClients)
		if err != nil || got != c.want || r.Rows != c.n || r.Nothing != c.nothing {
			t.Errorf("| %s: %v %+v\n%s\nwant %d %v\n%s", c.filters, err, r, got, c.n, c.nothing, c.want)
		}
	}
}

func TestFreeText(t *testing.T) {
	for _, c := range []struct{ filters, want string }{
		{"section Peers", "R|  Peers\nR|    up: 3\nR|    down: 1\n"},
		{"section Client", "R|Client 1\nR|  Name: edge\nR|  Peers\nR|    up: 3\nR|    down: 1\nR|  Uptime: 5m\n"},
		{"include up", "R|    up: 3\n"},
		{"begin Sess", "R|Sessions\nR|  1 now\n"},
		{"count", "R|Count: 8\n"},
		{"first 1", "R|Client 1\n"},
	} {
		got, _, err := run(t, c.filters, Text, showClient)
		if err != nil || got != c.want {
			t.Errorf("| %s: %v\n%s\nwant\n%s", c.filters, err, got, c.want)
		}
	}
}

func TestParagraphs(t *testing.T) {
	for _, c := range []struct {
		filters string
		format  Format
		want    string
	}{
		{"include MED", Text, "R|  MED: 0\nR|  MED: 1\nR|  MED: 2\n"},
		{"count", Text, "R|Count: 3\n"},
		{"first 1", Text, "H|Prefix\nR|10.0.0.0/24\nR|  AS path: 65001\nR|  MED: 0\n"},
		{"section 10.0.1", Text, "R|10.0.1.0/24\nR|  AS path: 65001\nR|  MED: 1\n"},
		{"include 10.0|MED", JSON, "J|[\nJ|  {\"med\":0},\nJ|  {\"med\":1},\nJ|  {\"med\":2}\nJ|]\n"}, // two lines of a route are one element
		{"include MED: 1", JSONLines, "J|{\"med\":1}\n"},
	} {
		got, _, err := run(t, c.filters, c.format, showDetail)
		if err != nil || got != c.want {
			t.Errorf("| %s: %v\n%s\nwant\n%s", c.filters, err, got, c.want)
		}
	}
}

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		filters string
		handler func(Output) error
		want    string
	}{
		{"json", showClients, `[{"id":1,"address":"1.1.1.1:12234","state":"up","bytes":2306867,"name":"edge1.ams"},{"id":2,"address":"2.2.2.2:23423","state":"down","bytes":900,"name":"edge2.ams"},{"id":10,"address":"[2001:db8::1]:12234","state":"up","bytes":1181116006,"name":"core"},{"id":11,"address":"10.0.0.1:5","state":"up","bytes":30720,"name":"core"}]`},
		{"include down | json", showClients, `[{"id":2,"address":"2.2.2.2:23423","state":"down","bytes":900,"name":"edge2.ams"}]`},
		{"json | include nothing", showClients, `[]`},
		{"columns Data,addr | first 1 | json", showClients, `[{"bytes":2306867,"address":"1.1.1.1:12234"}]`},
		{"count | json", showClients, `4`},
		{"sort bytes | first 1 | columns ID | json", showClients, `[{"id":2}]`},
		{"last 1 | columns ID | json", showClients, `[{"id":11}]`},
		{"json", showClient, `{"id":1,"name":"<edge>"}`},
		{"include up | json", showClient, `["    up: 3"]`},
		{"count | json", showClient, `8`},
		{"json", func(o Output) error { return o.Columns(clientColumns...) }, `[]`},
		{"json", func(Output) error { return nil }, `[]`},
		{"json", func(o Output) error { return o.Line("done") }, `["done"]`},
		{"json", func(o Output) error { return errors.Join(o.Line("a"), o.Line("b"), o.Document(7)) }, `7`},
		{"count | json", func(o Output) error { return errors.Join(o.Line("a"), o.Line("b"), o.Document(7)) }, `2`},
		{"json", func(o Output) error {
			return errors.Join(o.Line("before"), o.Columns(clientColumns[0]), o.Record(Record{JSON: 1}), o.Line("after"))
		}, `[1]`},
		{"json", func(o Output) error {
			return errors.Join(o.Document(7), o.Line("before"), o.Columns(clientColumns[0]), o.Record(Record{JSON: 1}))
		}, `7`},
		{"json", func(o Output) error {
			return errors.Join(o.Columns(clientColumns[0], clientColumns[4]), o.Record(Record{Cells: []string{"1", `a"b`}}), o.Line("note"))
		}, `[{"id":"1","name":"a\"b"}]`},
	} {
		got, _, err := run(t, c.filters, Text, c.handler)
		var compact bytes.Buffer
		if cerr := json.Compact(&compact, []byte(jsonText(got))); cerr != nil || err != nil || compact.String() != c.want {
			t.Errorf("| %s: %v %v\n%s\nwant\n%s", c.filters, err, cerr, got, c.want)
		}
	}
	got, r, _ := run(t, "json lines", Text, showClients)
	if strings.Count(got, "J|{") != 4 || r.Rows != 4 {
		t.Errorf("json lines: %s", got)
	}
	got, _, _ = run(t, "json lines", Text, func(o Output) error { return o.Document([]int{1, 2}) })
	if got != "J|1\nJ|2\n" {
		t.Errorf("json lines of a document that is a list: %s", got)
	}
}

// JSON is one valid document whatever happens to the handler.
func TestJSONOfAFailure(t *testing.T) {
	boom := errors.New("boom")
	got, _, err := run(t, "json", Text, func(o Output) error {
		if err := o.Record(Record{JSON: 1}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) || !json.Valid([]byte(jsonText(got))) {
		t.Errorf("%v\n%s", err, got)
	}
	got, _, _ = run(t, "json", Text, func(o Output) error { return boom })
	if got != "" {
		t.Errorf("output of a command that failed at once:\n%s", got)
	}
	got, _, _ = run(t, "", Text, func(o Output) error {
		_ = showClients(o)
		return boom
	})
	if strings.Count(got, "R|") != 5 {
		t.Errorf("rows written before the failure are gone:\n%s", got)
	}
}

func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		filters     string
		format      Format
		cells, json bool
	}{
		{"", Text, true, false}, {"", JSON, false, true}, {"count", Text, false, false}, {"json | count", Text, false, false},
		{"include x | count", Text, true, false}, {"include x | json", Text, true, true}, {"first 3 | json", Text, false, true},
		{"first 3 | count | include x", Text, false, false}, {"include -q x | json", Text, true, false}, {"sort A | json lines", Text, true, true},
	} {
		p, err := Parse(c.filters, min(len(c.filters), 1), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if cells, json := p.Start(&sink{}, c.format).Needs(); cells != c.cells || json != c.json {
			t.Errorf("| %s: cells %v json %v", c.filters, cells, json)
		}
	}
}

func TestHandlerIsStopped(t *testing.T) {
	for _, filters := range []string{"first 3", "include -q 2", "until 2", "first 3 | count"} {
		n := 0
		_, _, err := run(t, filters, Text, func(o Output) error {
			for n = 0; n < 1000; n++ {
				if err := o.Record(Record{Cells: []string{fmt.Sprint(n)}}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || n > 3 {
			t.Errorf("| %s: %d rows made, %v", filters, n, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	line := "show clients | "
	for _, c := range []struct {
		filters  string
		code     int
		col, len int
		text     string
	}{
		{"", 501, 16, 0, "Incomplete filter (expected: append, begin, columns, count, exclude, first, include, json, last, no-header, no-more, save, ...)"},
		{"bogus", 500, 16, 5, "Invalid filter: bogus (try '| ?')"},
		{"co", 502, 16, 2, `Ambiguous filter: "co" (columns, count)`},
		{"count | inclde x", 500, 24, 6, "Invalid filter: inclde (try '| ?'). Did you mean 'include'?"},
		{"include", 501, 23, 0, "Incomplete filter: include (expected: RE, -i, -q)"},
		{"include (", 503, 24, 1, "Invalid input: regular expression: missing closing ): `(`"},
		{"first 0", 503, 22, 1, "Invalid input: expected a number from 1"},
		{"last 100001", 503, 21, 6, "Invalid input: last holds at most 100000 rows"},
		{"save /tmp/x", 403, 16, 11, "'save' writes a file of the shell's machine: only in the shell"},
		{"append x", 403, 16, 8, "'append' writes a file of the shell's machine: only in the shell"},
		{"include -q x | count", 503, 31, 5, "Invalid input: include -q prints nothing: only json and no-more can follow"},
		{"columns A,,B", 503, 24, 4, "Invalid input: expected the names of columns: A,B"},
		{"count |", 501, 23, 0, ""},
	} {
		_, err := Parse(c.filters, len(line)+1, Options{})
		var e *grammar.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", c.filters, err)
			continue
		}
		if e.Code != c.code || e.Col != c.col || e.Len != c.len || c.text != "" && e.Text != c.text {
			t.Errorf("%q: %d @%d+%d %s", c.filters, e.Code, e.Col, e.Len, e.Text)
		}
	}
	for filters, code := range map[string]int{"sort X": 503, "columns ID,X": 503, "columns S,A": 0, "columns D,N,I": 0} {
		_, _, err := run(t, filters, Text, showClients)
		var e *grammar.Error
		if errors.As(err, &e) != (code != 0) || code != 0 && (e.Code != code || e.Col != 10+len(strings.Fields(filters)[0])+1) {
			t.Errorf("| %s: %v %+v", filters, err, e)
		}
	}
	if _, _, err := run(t, "sort A", Text, showClient); err == nil {
		t.Error("free text sorted")
	}
	if p, err := Parse("count | save 'my file'", 1, Options{Client: true}); err != nil || p.Save != "my file" || p.Append {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := Parse("save f | count", 1, Options{Client: true}); err == nil {
		t.Error("a filter after save")
	}
	if _, err := Parse("inc x", 1, Options{Strict: true}); err == nil {
		t.Error("an abbreviation in strict mode")
	}
}

func TestRawArguments(t *testing.T) {
	for text, want := range map[string][]string{
		"include UP|DOWN | count":       {"include UP|DOWN", "count "},
		"inc UP | count":                {"include UP", "count "},
		"include 'a | b' | count":       {"include a | b", "count "},
		"include a b  c | exclude -i d": {"include a b  c", "exclude (?i)d"},
		"begin a|  b|c":                 {"begin a|  b|c"},
		"until x|":                      {"until x|"},
		"count|first 2":                 {"count ", "first "},
	} {
		p, err := Parse(text, 1, Options{})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var got []string
		for _, s := range p.stages {
			re := ""
			if s.re != nil {
				re = s.re.String()
			}
			got = append(got, s.op+" "+re)
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestSortMeansWhatItSorts(t *testing.T) {
	for _, c := range []struct{ col, want string }{
		{"numbers", "-1 2 10 4,812 10.0K 1.2M 1.1B 2B"},
		{"sizes", "1B 900B 1.0KB 2.2MB 1.1GB"},
		{"ages", "00:00:01 59s 00:01:07 23:59:59 1d 3d04h11m down"},
		{"addresses", "9.1.1.1 10.0.0.0/8 10.0.0.0/24 10.0.0.1 100.0.0.1 2001:db8::1 -"},
		{"text", "1 a1 a2 b "},
	} {
		want := strings.Split(c.want, " ")
		mixed := append([]string(nil), want...)
		rand.New(rand.NewSource(1)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		var got []string
		out, _, err := run(t, "sort V | no-header", Text, func(o Output) error {
			err := o.Columns(Column{Name: "V"})
			for _, v := range mixed {
				err = errors.Join(err, o.Record(Record{Cells: []string{v}}))
			}
			return err
		})
		for l := range strings.Lines(out) {
			got = append(got, strings.TrimSpace(l[2:]))
		}
		if err != nil || strings.Join(got, " ") != strings.TrimSpace(c.want) && strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v %v", c.col, got, err)
		}
	}
}

// What a router says of itself cannot break a line or reach the terminal.
func TestHostileText(t *testing.T) {
	got, _, err := run(t, "", Text, func(o Output) error {
		return errors.Join(o.Columns(Column{Name: "N"}), o.Record(Record{Cells: []string{"a\r\n200 done\x1b[2J\xff\u009b\tö"}}), o.Line("x\x00y"))
	})
	if want := "H|N\nR|a\\x0d\\x0a200 done\\x1b[2J\\xff\\x9b ö\nR|x\\x00y\n"; err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

func TestWideCells(t *testing.T) {
	got, _, _ := run(t, "", Text, func(o Output) error {
		err := o.Columns(Column{Name: "A", Width: 2}, Column{Name: "B", Right: true}, Column{Name: "C"})
		for i := range 250 {
			cell := "short"
			if i == 200 {
				cell = "much longer than the first hundred"
			}
			err = errors.Join(err, o.Record(Record{Cells: []string{cell, fmt.Sprint(i), "é"}}))
		}
		return err
	})
	lines := strings.Split(got, "\n")
	if lines[0] != "H|A       B  C" || lines[1] != "R|short   0  é" || lines[101] != "R|short  100  é" || lines[201] != "R|much longer than the first hundred  200  é" {
		t.Errorf("%q %q %q %q", lines[0], lines[1], lines[101], lines[201])
	}
}

// One row with a cell wider than a screen does not move the columns of the others.
func TestWidestCell(t *testing.T) {
	path := strings.Repeat("65001 ", 30)
	got, _, _ := run(t, "", Text, func(o Output) error {
		return errors.Join(o.Columns(Column{Name: "Path"}, Column{Name: "Age"}),
			o.Record(Record{Cells: []string{"65001", "1"}}), o.Record(Record{Cells: []string{path, "2"}}))
	})
	if want := "H|Path   Age\nR|65001  1\nR|" + path + "  2\n"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestBounds(t *testing.T) {
	n := 0
	_, _, err := run(t, "sort A", Text, func(o Output) error {
		if err := o.Columns(Column{Name: "A"}); err != nil {
			return err
		}
		for n = 0; n <= maxSorted+1; n++ {
			if err := o.Record(Record{Cells: []string{"x"}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "sort holds at most 1,000,000 rows") || n != maxSorted {
		t.Errorf("%d rows: %v", n, err)
	}
}

// Two replies share what sort and last may hold; what one holds is free for others once it is finished.
func TestBudget(t *testing.T) {
	budget := &Budget{Limit: 1 << 20}
	fill := func(w *Writer, rows int) error {
		if err := w.Columns(Column{Name: "A"}); err != nil {
			return err
		}
		for range rows {
			if err := w.Record(Record{Cells: []string{strings.Repeat("x", 1000)}}); err != nil {
				return err
			}
		}
		return nil
	}
	start := func(filters string) *Writer {
		p, err := Parse(filters, 1, Options{Budget: budget})
		if err != nil {
			t.Fatal(err)
		}
		return p.Start(&sink{}, Text)
	}
	first := start("sort A | count")
	if err := fill(first, 600); err != nil {
		t.Fatal(err)
	}
	for _, filters := range []string{"sort A", "last 1000"} {
		second := start(filters)
		if err := fill(second, 600); err == nil || !strings.HasPrefix(err.Error(), filters[:4]+": the replies being sorted or cut hold 1 MB together") {
			t.Errorf("%s: %v", filters, err)
		}
		if _, err := second.Finish(true); err != nil {
			t.Error(err)
		}
	}
	// Rows that replace others in a ring take no more than those.
	ring := start("last 10")
	if err := fill(ring, 5000); err != nil {
		t.Error(err)
	}
	for _, w := range []*Writer{first, ring} {
		if _, err := w.Finish(false); err != nil {
			t.Error(err)
		}
	}
	if n := budget.Used(); n != 0 {
		t.Errorf("%d bytes are held by replies that are over", n)
	}
	again := start("sort A")
	if err := fill(again, 900); err != nil {
		t.Error(err)
	}
	if _, err := again.Finish(false); err != nil {
		t.Error(err)
	}
}

// The filters a line may have are read without a panic, and what is read runs.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"include UP|DOWN | count", "sort ID desc | first 3", "columns ID,Name | json lines", "section x | uniq | last 2 | no-header",
		"include -i -q 'a b'", "begin x | until y | exclude z", "| |", "json | include up", "count | count"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text, 7, Options{})
		if err != nil {
			var e *grammar.Error
			if !errors.As(err, &e) || e.Col < 7 || e.Col-7+e.Len > len(text) {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		for _, handler := range []func(Output) error{showClients, showClient, showDetail} {
			var s sink
			w := p.Start(&s, Text)
			err := handler(w)
			_, _ = w.Finish(err != nil && err != ErrDone)
			if p.Format == JSON && s.b.Len() > 0 && !json.Valid([]byte(jsonText(s.b.String()))) {
				t.Fatalf("%q: not valid JSON:\n%s", text, s.b.String())
			}
		}
	})
}

func benchmark(b *testing.B, filters string) {
	p, err := Parse(filters, 1, Options{})
	if err != nil {
		b.Fatal(err)
	}
	cells := []string{"edge1.ams", "10.0.0.1", "adj-in-pre", "203.0.113.0/24", "10.0.0.1", "65001 65010 i", "3d04h11m"}
	cols := []Column{{Name: "Client", Width: 11}, {Name: "Peer", Width: 15}, {Name: "View", Width: 11}, {Name: "Prefix", Width: 18}, {Name: "Next hop", Width: 14}, {Name: "Path"}, {Name: "Age", Right: true}}
	b.ReportAllocs()
	for b.Loop() {
		w := p.Start(discard{}, Text)
		_ = w.Columns(cols...)
		needCells, _ := w.Needs()
		r := Record{JSON: clients[0].json}
		if needCells {
			r.Cells = cells
		}
		for range 1_000_000 {
			if w.Record(r) != nil {
				break
			}
		}
		if _, err := w.Finish(false); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Heading([]byte) error { return nil }
func (discard) Row([]byte) error     { return nil }
func (discard) JSON([]byte) error    { return nil }

func BenchmarkMillionCount(b *testing.B)        { benchmark(b, "count") }
func BenchmarkMillionIncludeCount(b *testing.B) { benchmark(b, "include 65010 | count") }
func BenchmarkMillionText(b *testing.B)         { benchmark(b, "no-more") }
func BenchmarkMillionJSON(b *testing.B)         { benchmark(b, "json") }
func BenchmarkMillionSort(b *testing.B)         { benchmark(b, "sort Prefix | count") }

// The table of `show clients` is fixed to the column.
func TestFixedTable(t *testing.T) {
	got, _, err := run(t, "", Text, func(o Output) error {
		return errors.Join(
			o.Columns(Column{Name: "ID", Width: 2, Right: true}, Column{Name: "Address:Port", Heading: " Address:Port", Width: 21, Gap: 3},
				Column{Name: "Uptime", Width: 8, Right: true}, Column{Name: "Peers", Width: 7, Right: true},
				Column{Name: "Messages", Width: 8, Right: true}, Column{Name: "Data", Width: 7, Right: true},
				Column{Name: "Routes", Width: 8, Right: true}, Column{Name: "Name"}),
			o.Record(Record{Cells: []string{"1", "1.1.1.1:12234", "00:03:11", "2300", "10023", "2.2MB", "1824331", "edge1.ams"}}),
			o.Record(Record{Cells: []string{"2", "2.2.2.2:23423", "down", "0", "102323", "30.2MB", "912020", "edge2.ams"}}))
	})
	want := `H|ID    Address:Port            Uptime    Peers  Messages     Data    Routes  Name
R| 1   1.1.1.1:12234          00:03:11     2300     10023    2.2MB   1824331  edge1.ams
R| 2   2.2.2.2:23423              down        0    102323   30.2MB    912020  edge2.ams
`
	if err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

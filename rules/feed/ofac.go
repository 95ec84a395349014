package feed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sallyport/rules"
)

// ofacEntry is one party of an OFAC list, from whichever form it came in.
type ofacEntry struct {
	line       int
	uid        string
	name       string
	kind       string // "individual", "entity", "vessel", "aircraft"
	lists      []string
	programmes []string
	legalBasis []string
	aliases    []ofacAlias
	websites   []string
	ids        []string // "Tax ID No. 7813654490 (Russia)"
	linked     []string
	designated rules.Date
}

type ofacAlias struct {
	name string
	weak bool
}

// maxOFACEntry bounds the bytes of one party: the largest real one has far less
// than a megabyte.
const maxOFACEntry = 16 << 20

// readOFAC tells the forms of the list apart by their first bytes and, for XML,
// by the name of the root element: each form is read as itself or refused by
// name, never with zero records.
func readOFAC(ctx context.Context, j *job) error {
	r, err := j.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case len(head) == 0:
		return errors.New("the list is empty")
	case head[0] == '<':
		return j.ofacXML(ctx, in)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return errors.New("a ZIP archive: unpack it first")
	}
	return j.ofacCSV(ctx, in)
}

// entryReader fails when one party takes more bytes than any may.
type entryReader struct {
	r    io.Reader
	left int
}

// Read reads within the party's budget.
func (e *entryReader) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, fmt.Errorf("%w: one party of more than %d bytes", ErrTooBig, maxOFACEntry)
	}
	n, err := e.r.Read(p[:min(len(p), e.left)])
	e.left -= n
	return n, err
}

// xmlWalk streams elements of an XML list: what on does not take is entered.
type xmlWalk struct {
	d      *xml.Decoder
	budget *entryReader
}

func (w *xmlWalk) line() int {
	line, _ := w.d.InputPos()
	return line
}

// each calls on for every element until the end. on returns true when it has
// read the element to its end.
func (w *xmlWalk) each(ctx context.Context, on func(start *xml.StartElement) (bool, error)) error {
	depth := 0
	for n := 0; ; n++ {
		w.budget.left = maxOFACEntry
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		tok, err := w.d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("parse XML: %w", err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if depth++; depth > 64 {
				return errors.New("parse XML: nested too deep")
			}
			taken, err := on(&t)
			if err != nil {
				return err
			}
			if taken {
				depth--
			}
		case xml.EndElement:
			depth--
		}
	}
}

func (w *xmlWalk) decode(start *xml.StartElement, to any) error {
	if err := w.d.DecodeElement(to, start); err != nil {
		return fmt.Errorf("parse XML element %s: %w", start.Name.Local, err)
	}
	return nil
}

func (j *job) ofacXML(ctx context.Context, r io.Reader) error {
	budget := &entryReader{r: r, left: maxOFACEntry}
	w := &xmlWalk{d: xml.NewDecoder(budget), budget: budget}
	var form interface {
		element(*xml.StartElement) (bool, error)
		end() error
	}
	err := w.each(ctx, func(start *xml.StartElement) (bool, error) {
		if form != nil {
			return form.element(start)
		}
		switch start.Name.Local {
		case "sdnList":
			form = &ofacClassic{job: j, w: w}
		case "sanctionsData":
			form = &ofacEnhanced{job: j, w: w}
		case "Sanctions":
			form = newOFACAdvanced(j, w)
		default:
			return false, fmt.Errorf("root element %q is none of sdnList (classic), sanctionsData (enhanced) and Sanctions (advanced)", printable(start.Name.Local, 60))
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	if form == nil {
		return errors.New("an XML document without elements")
	}
	if err := form.end(); err != nil {
		return err
	}
	if j.report.Rows == 0 {
		return errors.New("the list holds no party")
	}
	return nil
}

// published sets the date of the list as a source.
func (j *job) published(d rules.Date) {
	if d.Known() {
		j.req.Source.Date, j.req.Source.Note = d, ""
	}
}

// publishDate reads OFAC's MM/DD/YYYY, and ISO dates with a time behind.
func publishDate(s string) rules.Date {
	if t, err := time.Parse("01/02/2006", strings.TrimSpace(s)); err == nil {
		return rules.Date(t.Format(time.DateOnly))
	}
	return date(s)
}

// addOFAC turns a party into an entity.
func (j *job) addOFAC(e *ofacEntry) error {
	j.report.Rows++
	switch {
	case e.uid == "" || slug(e.uid) != e.uid || len(e.uid) > 32:
		j.reject(e.line, e.name, "a party without a usable list id")
		return nil
	case strings.TrimSpace(e.name) == "":
		j.reject(e.line, e.uid, "a party without a name")
		return nil
	case e.kind == "vessel" || e.kind == "aircraft":
		j.reject(e.line, e.name, "a vessel or an aircraft, which has no network")
		return nil
	case !wanted(e.programmes, j.req.Programmes):
		j.reject(e.line, e.name, "under none of the programmes asked for")
		return nil
	}
	if len(j.list) >= j.req.Limits.Rows {
		return errTooMany
	}
	entity := e.entity(j.req.Source)
	j.list = append(j.list, entity)
	j.report.Accepted++
	j.ofacWebsites(e, &j.list[len(j.list)-1])
	return nil
}

func wanted(have, want []string) bool {
	return len(want) == 0 || slices.ContainsFunc(want, func(p string) bool { return slices.Contains(have, p) })
}

func (e *ofacEntry) entity(source rules.Source) rules.Entity {
	out := rules.Entity{
		ID: "ofac-" + e.uid, Name: printable(e.name, 300), Kind: rules.KindOrganisation, Sources: []rules.Source{source},
	}
	if e.kind == "individual" {
		out.Kind = rules.KindPerson
	}
	cited := []string{source.ID}
	for _, a := range e.aliases {
		c := rules.ConfidenceHigh
		if a.weak {
			c = rules.ConfidenceLow
		}
		if name := printable(strings.TrimSpace(a.name), 300); name != "" && len(out.Aliases) < 1000 {
			out.Aliases = append(out.Aliases, rules.Alias{Name: name, Confidence: c, Sources: cited})
		}
	}
	programmes := e.programmes
	if len(programmes) == 0 {
		programmes = []string{""}
	}
	for _, p := range programmes[:min(len(programmes), 100)] {
		out.Designations = append(out.Designations, rules.Designation{
			Authority: "OFAC", List: strings.Join(e.lists, ", "), Programme: printable(p, 100), ListID: e.uid,
			LegalBasis: printable(strings.Join(e.legalBasis, "; "), 500),
			Designated: e.designated, Confidence: rules.ConfidenceHigh, Sources: cited,
		})
	}
	var notes []string
	if len(e.ids) > 0 {
		notes = append(notes, "Ids on the list: "+strings.Join(e.ids, "; ")+".")
	}
	if len(e.linked) > 0 {
		notes = append(notes, "Linked to: "+strings.Join(e.linked, "; ")+".")
	}
	out.Note = printable(strings.Join(notes, " "), 4000)
	return out
}

// ofacWebsites adds the websites of an entry as indicators. A URL stays at the
// level of its host, and a host that strangers share is refused.
func (j *job) ofacWebsites(e *ofacEntry, to *rules.Entity) {
	sub := &job{req: j.req, index: map[valueKey]int{}, claims: []rules.Claim{{Source: j.req.Source.ID}}, entity: *to}
	for _, site := range e.websites {
		in, err := guess(site, "")
		if err == nil && in.Type != rules.TypeDomain && in.Type != rules.TypeURLHost {
			err = errors.New("a website that is no name")
		}
		if err != nil {
			j.reject(e.line, site, "website: "+reason(err))
			continue
		}
		if in.Type == rules.TypeURLHost && in.Note == "" {
			in.Type = rules.TypeDomain // a scheme in front makes it no less the entity's site
		}
		in.Role, in.Confidence = "website", rules.ConfidenceHigh
		if err := sub.add(e.line, site, in); err != nil {
			j.reject(e.line, site, reason(err))
		}
	}
	to.Indicators = sub.entity.Indicators
	for _, x := range sub.report.Rejections {
		j.reject(x.Line, x.Value, "website: "+x.Reason)
	}
}

// remarks reads the remarks of the CSV form and of the "recent actions" pages:
// parts separated by semicolons, "Website x; alt. Website y; a.k.a. 'X'; ...".
func (e *ofacEntry) remarks(s string) {
	for part := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(s), "."), ";") {
		part = strings.TrimSpace(part)
		plain := strings.TrimPrefix(part, "alt. ")
		switch {
		case strings.HasPrefix(plain, "Website "):
			e.websites = append(e.websites, strings.TrimSpace(plain[len("Website "):]))
		case strings.HasPrefix(plain, "a.k.a. "), strings.HasPrefix(plain, "f.k.a. "):
			e.aliases = append(e.aliases, ofacAlias{name: strings.Trim(plain[len("a.k.a. "):], `'" `), weak: true})
		case strings.HasPrefix(plain, "Linked To: "):
			e.linked = append(e.linked, plain[len("Linked To: "):])
		case strings.HasPrefix(plain, "Organization Established Date"), part == "":
		case isOFACId(plain):
			e.ids = append(e.ids, plain)
		}
	}
}

// isOFACId picks the identifiers of organisations among the remarks; persons'
// documents stay out: they are nobody's business here.
func isOFACId(s string) bool {
	for _, p := range []string{
		"Tax ID No.", "Registration Number", "Registration ID", "Company Number", "UK Company Number", "Legal Entity Number",
		"Unified Social Credit Code", "Business Registration Number", "Government Gazette Number", "Digital Currency Address",
	} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

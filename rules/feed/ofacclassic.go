package feed

import (
	"encoding/xml"
	"strings"
)

// ofacClassic reads the classic form, root sdnList. Websites and wallets are
// rows of idList there.
type ofacClassic struct {
	*job
	w *xmlWalk
}

type classicEntry struct {
	UID        string   `xml:"uid"`
	First      string   `xml:"firstName"`
	Last       string   `xml:"lastName"`
	Type       string   `xml:"sdnType"`
	Remarks    string   `xml:"remarks"`
	Programmes []string `xml:"programList>program"`
	IDs        []struct {
		Type    string `xml:"idType"`
		Number  string `xml:"idNumber"`
		Country string `xml:"idCountry"`
	} `xml:"idList>id"`
	Aliases []struct {
		Category string `xml:"category"`
		First    string `xml:"firstName"`
		Last     string `xml:"lastName"`
	} `xml:"akaList>aka"`
}

func (c *ofacClassic) element(start *xml.StartElement) (bool, error) {
	switch start.Name.Local {
	case "publshInformation": // sic
		var p struct {
			Date string `xml:"Publish_Date"`
		}
		if err := c.w.decode(start, &p); err != nil {
			return false, err
		}
		c.published(publishDate(p.Date))
		return true, nil
	case "sdnEntry":
		line := c.w.line()
		var x classicEntry
		if err := c.w.decode(start, &x); err != nil {
			return false, err
		}
		return true, c.addOFAC(x.entry(line))
	}
	return false, nil
}

func (c *ofacClassic) end() error { return nil }

func (x *classicEntry) entry(line int) *ofacEntry {
	e := &ofacEntry{
		line: line, uid: strings.TrimSpace(x.UID), name: joined(x.First, x.Last), kind: strings.ToLower(strings.TrimSpace(x.Type)),
		lists: []string{"SDN"}, programmes: x.Programmes,
	}
	for _, a := range x.Aliases {
		e.aliases = append(e.aliases, ofacAlias{name: joined(a.First, a.Last), weak: a.Category == "weak"})
	}
	for _, id := range x.IDs {
		e.id(id.Type, id.Number, id.Country)
	}
	e.remarks(x.Remarks)
	return e
}

// id sorts one identifier: a website, or an identifier of an organisation.
func (e *ofacEntry) id(kind, value, country string) {
	value = strings.TrimSpace(value)
	if strings.EqualFold(kind, "Website") {
		e.websites = append(e.websites, value)
		return
	}
	text := kind + " " + value
	if country != "" {
		text += " (" + country + ")"
	}
	if isOFACId(text) {
		e.ids = append(e.ids, text)
	}
}

func joined(first, last string) string {
	return strings.TrimSpace(strings.TrimSpace(first) + " " + strings.TrimSpace(last))
}

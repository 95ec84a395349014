package feed

import (
	"encoding/xml"
	"slices"
	"strings"
)

// ofacEnhanced reads the enhanced form, root sanctionsData. Websites and wallets
// are features there.
type ofacEnhanced struct {
	*job
	w *xmlWalk
}

type enhancedEntity struct {
	ID      string `xml:"id,attr"`
	General struct {
		Type string `xml:"entityType"`
	} `xml:"generalInfo"`
	Lists []struct {
		Published string `xml:"datePublished,attr"`
		Name      string `xml:",chardata"`
	} `xml:"sanctionsLists>sanctionsList"`
	Programmes []string `xml:"sanctionsPrograms>sanctionsProgram"`
	Legal      []string `xml:"legalAuthorities>legalAuthority"`
	Names      []struct {
		Primary      string `xml:"isPrimary"`
		LowQuality   string `xml:"isLowQuality"`
		Translations []struct {
			Primary string `xml:"isPrimary"`
			Full    string `xml:"formattedFullName"`
		} `xml:"translations>translation"`
	} `xml:"names>name"`
	Features []struct {
		Type  string `xml:"type"`
		Value string `xml:"value"`
	} `xml:"features>feature"`
	Documents []struct {
		Type    string `xml:"type"`
		Number  string `xml:"documentNumber"`
		Country string `xml:"issuingCountry"`
	} `xml:"identityDocuments>identityDocument"`
	Relationships []struct {
		Type    string `xml:"type"`
		Related string `xml:"relatedEntity"`
	} `xml:"relationships>relationship"`
}

func (o *ofacEnhanced) element(start *xml.StartElement) (bool, error) {
	switch start.Name.Local {
	case "publicationInfo":
		var p struct {
			AsOf string `xml:"dataAsOf"`
		}
		if err := o.w.decode(start, &p); err != nil {
			return false, err
		}
		o.published(publishDate(p.AsOf))
		return true, nil
	case "entity":
		line := o.w.line()
		var x enhancedEntity
		if err := o.w.decode(start, &x); err != nil {
			return false, err
		}
		return true, o.addOFAC(x.entry(line))
	}
	return false, nil
}

func (o *ofacEnhanced) end() error { return nil }

func (x *enhancedEntity) entry(line int) *ofacEntry {
	e := &ofacEntry{
		line: line, uid: strings.TrimSpace(x.ID), kind: strings.ToLower(strings.TrimSpace(x.General.Type)),
		programmes: x.Programmes, legalBasis: x.Legal,
	}
	for _, l := range x.Lists {
		name := strings.TrimSpace(l.Name)
		if !slices.Contains(e.lists, name) {
			e.lists = append(e.lists, name)
		}
		if d := date(l.Published); d.Known() && (e.designated == "" || d.Start().Before(e.designated.Start())) {
			e.designated = d
		}
	}
	for _, n := range x.Names {
		for _, t := range n.Translations {
			switch full := strings.TrimSpace(t.Full); {
			case full == "":
			case n.Primary == "true" && t.Primary != "false" && e.name == "":
				e.name = full
			default:
				e.aliases = append(e.aliases, ofacAlias{name: full, weak: n.LowQuality == "true"})
			}
		}
	}
	for _, f := range x.Features {
		e.id(f.Type, f.Value, "")
	}
	for _, d := range x.Documents {
		e.id(d.Type, d.Number, d.Country)
	}
	for _, r := range x.Relationships {
		if r.Related != "" {
			e.linked = append(e.linked, strings.TrimSpace(r.Type+" "+r.Related))
		}
	}
	return e
}

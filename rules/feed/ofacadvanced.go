package feed

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"sallyport/rules"
)

// ofacAdvanced reads the advanced form, root Sanctions. It spreads a party over
// sections that refer to each other by id: reference values first, then parties,
// then the entries that say under which programme a party is listed. So parties
// wait until the end.
type ofacAdvanced struct {
	*job
	w       *xmlWalk
	values  map[string]map[string]string // section's element to id to text
	party   map[string]string            // sub-type id to type id
	parties []*ofacEntry
	byID    map[string]*ofacEntry // by profile
}

func newOFACAdvanced(j *job, w *xmlWalk) *ofacAdvanced {
	return &ofacAdvanced{job: j, w: w, values: map[string]map[string]string{}, party: map[string]string{}, byID: map[string]*ofacEntry{}}
}

// referenceValues are the elements of ReferenceValueSets we look things up in.
var referenceValues = []string{"AliasType", "FeatureType", "LegalBasis", "List", "PartyType", "PartySubType", "SanctionsType", "IDRegDocType"}

type advancedValue struct {
	ID      string `xml:"ID,attr"`
	PartyID string `xml:"PartyTypeID,attr"`
	Short   string `xml:"LegalBasisShortRef,attr"`
	Text    string `xml:",chardata"`
}

type advancedDate struct {
	Year  int `xml:"Year"`
	Month int `xml:"Month"`
	Day   int `xml:"Day"`
}

func (d advancedDate) date() rules.Date {
	return date(fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day))
}

type advancedParty struct {
	FixedRef string `xml:"FixedRef,attr"`
	Profiles []struct {
		ID      string `xml:"ID,attr"`
		SubType string `xml:"PartySubTypeID,attr"`
		Aliases []struct {
			Primary    string         `xml:"Primary,attr"`
			LowQuality string         `xml:"LowQuality,attr"`
			Names      []advancedName `xml:"DocumentedName"`
		} `xml:"Identity>Alias"`
		Features []struct {
			Type     string `xml:"FeatureTypeID,attr"`
			Versions []struct {
				Details []string `xml:"VersionDetail"`
			} `xml:"FeatureVersion"`
		} `xml:"Feature"`
	} `xml:"Profile"`
}

type advancedName struct {
	Parts []string `xml:"DocumentedNamePart>NamePartValue"`
}

type advancedEntry struct {
	ProfileID string `xml:"ProfileID,attr"`
	ListID    string `xml:"ListID,attr"`
	Events    []struct {
		LegalBasis string       `xml:"LegalBasisID,attr"`
		Date       advancedDate `xml:"Date"`
	} `xml:"EntryEvent"`
	Measures []struct {
		Type    string `xml:"SanctionsTypeID,attr"`
		Comment string `xml:"Comment"`
	} `xml:"SanctionsMeasure"`
}

func (a *ofacAdvanced) element(start *xml.StartElement) (bool, error) {
	name := start.Name.Local
	switch {
	case name == "DateOfIssue":
		var d advancedDate
		if err := a.w.decode(start, &d); err != nil {
			return false, err
		}
		a.published(d.date())
		return true, nil
	case name == "DistinctParty":
		line := a.w.line()
		var p advancedParty
		if err := a.w.decode(start, &p); err != nil {
			return false, err
		}
		return true, a.addParty(line, &p)
	case name == "SanctionsEntry":
		var e advancedEntry
		if err := a.w.decode(start, &e); err != nil {
			return false, err
		}
		a.addEntry(&e)
		return true, nil
	case slices.Contains(referenceValues, name):
		var v advancedValue
		if err := a.w.decode(start, &v); err != nil {
			return false, err
		}
		a.addValue(name, &v)
		return true, nil
	}
	return false, nil
}

func (a *ofacAdvanced) addValue(name string, v *advancedValue) {
	if a.values[name] == nil {
		a.values[name] = map[string]string{}
	}
	text := strings.TrimSpace(v.Text)
	if text == "" {
		text = v.Short
	}
	if len(a.values[name]) < 10_000 {
		a.values[name][v.ID] = text
		if name == "PartySubType" {
			a.party[v.ID] = v.PartyID
		}
	}
}

func (a *ofacAdvanced) addParty(line int, p *advancedParty) error {
	for _, profile := range p.Profiles {
		e := &ofacEntry{line: line, uid: strings.TrimSpace(p.FixedRef), kind: a.kind(profile.SubType)}
		for _, alias := range profile.Aliases {
			for i, n := range alias.Names {
				full := strings.Join(strings.Fields(strings.Join(n.Parts, " ")), " ")
				switch {
				case full == "":
				case alias.Primary == "true" && i == 0 && e.name == "":
					e.name = full
				default:
					e.aliases = append(e.aliases, ofacAlias{name: full, weak: alias.LowQuality == "true"})
				}
			}
		}
		for _, f := range profile.Features {
			for _, v := range f.Versions {
				for _, d := range v.Details {
					if d = strings.TrimSpace(d); d != "" {
						e.id(a.values["FeatureType"][f.Type], d, "")
					}
				}
			}
		}
		if len(a.parties) >= a.req.Limits.Rows {
			return errTooMany
		}
		a.parties = append(a.parties, e)
		a.byID[profile.ID] = e
	}
	return nil
}

// kind reads the sub-type: vessels and aircraft are named there, persons and
// organisations by the type above it.
func (a *ofacAdvanced) kind(subType string) string {
	sub := strings.ToLower(a.values["PartySubType"][subType])
	if sub == "vessel" || sub == "aircraft" {
		return sub
	}
	return strings.ToLower(a.values["PartyType"][a.party[subType]])
}

func (a *ofacAdvanced) addEntry(x *advancedEntry) {
	e := a.byID[x.ProfileID]
	if e == nil {
		return
	}
	if list := a.values["List"][x.ListID]; list != "" && !slices.Contains(e.lists, list) {
		e.lists = append(e.lists, list)
	}
	for _, ev := range x.Events {
		if basis := a.values["LegalBasis"][ev.LegalBasis]; basis != "" && basis != "Unknown" && !slices.Contains(e.legalBasis, basis) {
			e.legalBasis = append(e.legalBasis, basis)
		}
		if d := ev.Date.date(); d.Known() && (e.designated == "" || d.Start().Before(e.designated.Start())) {
			e.designated = d
		}
	}
	for _, m := range x.Measures {
		comment := strings.TrimSpace(m.Comment)
		if strings.EqualFold(a.values["SanctionsType"][m.Type], "Program") && comment != "" && !slices.Contains(e.programmes, comment) {
			e.programmes = append(e.programmes, comment)
		}
	}
}

// end adds the parties, now that their entries are known.
func (a *ofacAdvanced) end() error {
	for _, e := range a.parties {
		if err := a.addOFAC(e); err != nil {
			return err
		}
	}
	return nil
}

package feed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/rules"
)

const ofacClassicXML = `<?xml version="1.0"?>
<sdnList xmlns="https://sanctionslistservice.ofac.treas.gov/api/PublicationPreview/exports/XML">
<publshInformation><Publish_Date>09/18/2026</Publish_Date><Record_Count>3</Record_Count></publshInformation>
<sdnEntry><uid>101</uid><lastName>EXAMPLE HOSTING LLC</lastName><sdnType>Entity</sdnType><remarks>(Linked To: X)</remarks>
<programList><program>CYBER2</program><program>RUSSIA</program></programList>
<idList><id><uid>1</uid><idType>Website</idType><idNumber>Hosting-Example.net</idNumber></id><id><uid>2</uid><idType>Website</idType><idNumber>t.me/examplehost</idNumber></id>
<id><uid>3</uid><idType>Tax ID No.</idType><idNumber>123</idNumber><idCountry>Russia</idCountry></id><id><uid>4</uid><idType>Passport</idType><idNumber>SECRET</idNumber></id></idList>
<akaList><aka><uid>5</uid><category>weak</category><lastName>EXH</lastName></aka><aka><uid>6</uid><category>strong</category><lastName>EXAMPLE HOST</lastName></aka></akaList></sdnEntry>
<sdnEntry><uid>102</uid><firstName>Ann</firstName><lastName>EXAMPLE</lastName><sdnType>Individual</sdnType><programList><program>CYBER2</program></programList></sdnEntry>
<sdnEntry><uid>103</uid><lastName>BOAT</lastName><sdnType>Vessel</sdnType></sdnEntry>
<sdnEntry><lastName>NAMELESS</lastName><sdnType>Entity</sdnType></sdnEntry>
</sdnList>`

const ofacEnhancedXML = `<sanctionsData xmlns="https://sanctionslistservice.ofac.treas.gov/api/PublicationPreview/exports/ENHANCED_XML">
<publicationInfo><dataAsOf>2026-07-27T00:00:00</dataAsOf></publicationInfo><entities>
<entity id="101"><generalInfo><entityType refId="601">Entity</entityType></generalInfo>
<sanctionsLists><sanctionsList refId="1" id="1" datePublished="2025-01-03">SDN List</sanctionsList></sanctionsLists>
<sanctionsPrograms><sanctionsProgram refId="2">CYBER2</sanctionsProgram></sanctionsPrograms>
<names><name><isPrimary>true</isPrimary><isLowQuality>false</isLowQuality><translations><translation><isPrimary>true</isPrimary><formattedFullName>EXAMPLE HOSTING LLC</formattedFullName></translation>
<translation><isPrimary>false</isPrimary><formattedFullName>示例</formattedFullName></translation></translations></name>
<name><isPrimary>false</isPrimary><isLowQuality>true</isLowQuality><translations><translation><isPrimary>true</isPrimary><formattedFullName>EXH</formattedFullName></translation></translations></name></names>
<features><feature><type featureTypeId="14">Website</type><value>https://Hosting-Example.net/</value></feature></features></entity>
</entities></sanctionsData>`

const ofacAdvancedXML = `<Sanctions xmlns="http://www.un.org/sanctions/1.0"><DateOfIssue><Year>2026</Year><Month>7</Month><Day>27</Day></DateOfIssue>
<ReferenceValueSets><FeatureTypeValues><FeatureType ID="14">Website</FeatureType></FeatureTypeValues>
<LegalBasisValues><LegalBasis ID="7" LegalBasisShortRef="EO13694" LegalBasisTypeID="1">Executive Order 13694</LegalBasis></LegalBasisValues>
<ListValues><List ID="1550">SDN List</List></ListValues><PartyTypeValues><PartyType ID="1">Individual</PartyType><PartyType ID="2">Entity</PartyType></PartyTypeValues>
<PartySubTypeValues><PartySubType ID="1" PartyTypeID="4">Vessel</PartySubType><PartySubType ID="3" PartyTypeID="2">Unknown</PartySubType><PartySubType ID="4" PartyTypeID="1">Unknown</PartySubType></PartySubTypeValues>
<SanctionsTypeValues><SanctionsType ID="1">Program</SanctionsType><SanctionsType ID="2">Block</SanctionsType></SanctionsTypeValues></ReferenceValueSets>
<DistinctParties><DistinctParty FixedRef="101"><Profile ID="9101" PartySubTypeID="3"><Identity ID="1" FixedRef="101" Primary="true">
<Alias AliasTypeID="1403" Primary="true" LowQuality="false"><DocumentedName><DocumentedNamePart><NamePartValue>EXAMPLE HOSTING LLC</NamePartValue></DocumentedNamePart></DocumentedName></Alias>
<Alias AliasTypeID="1400" Primary="false" LowQuality="true"><DocumentedName><DocumentedNamePart><NamePartValue>EXH</NamePartValue></DocumentedNamePart></DocumentedName></Alias></Identity>
<Feature ID="5" FeatureTypeID="14"><FeatureVersion ID="6"><VersionDetail DetailTypeID="1432">hosting-example.net</VersionDetail></FeatureVersion></Feature></Profile></DistinctParty>
<DistinctParty FixedRef="103"><Profile ID="9103" PartySubTypeID="1"><Identity><Alias Primary="true"><DocumentedName><DocumentedNamePart><NamePartValue>BOAT</NamePartValue></DocumentedNamePart></DocumentedName></Alias></Identity></Profile></DistinctParty></DistinctParties>
<SanctionsEntries><SanctionsEntry ID="1" ProfileID="9101" ListID="1550"><EntryEvent ID="1" LegalBasisID="7"><Date><Year>2025</Year><Month>1</Month><Day>3</Day></Date></EntryEvent>
<SanctionsMeasure ID="1" SanctionsTypeID="2"/><SanctionsMeasure ID="2" SanctionsTypeID="1"><Comment>CYBER2</Comment></SanctionsMeasure></SanctionsEntry></SanctionsEntries></Sanctions>`

func ofacRequest(t *testing.T, name, text string) Request {
	req := testRequest(t, "ofac", name, text)
	req.Entity = rules.Entity{}
	return req
}

func TestOFACForms(t *testing.T) {
	csv := "101,\"EXAMPLE HOSTING LLC\",-0- ,\"CYBER2] [RUSSIA\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,\"Website Hosting-Example.net; alt. Website t.me/examplehost; a.k.a. 'EXH'; Tax ID No. 123 (Russia); Passport SECRET\"\n" +
		"103,\"BOAT\",\"vessel\",\"X\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- \nshort,row\n\x1a\n"
	for _, tt := range []struct{ name, text, designated string }{
		{"classic.xml", ofacClassicXML, ""},
		{"enhanced.xml", ofacEnhancedXML, "2025-01-03"},
		{"advanced.xml", ofacAdvancedXML, "2025-01-03"},
		{"sdn.csv", csv, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := ofacRequest(t, tt.name, tt.text)
			if tt.name == "sdn.csv" {
				dir := filepath.Dir(req.From)
				for name, text := range map[string]string{
					"alt.csv":          "101,1,\"aka\",\"EXAMPLE HOST\",-0- \nbad\n",
					"sdn_comments.csv": "101,\"; Linked To: Y.\"\n",
				} {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			res := mustImport(t, req)
			e := res.Entities[0]
			if e.ID != "ofac-101" || e.Name != "EXAMPLE HOSTING LLC" || e.Kind != rules.KindOrganisation {
				t.Fatalf("entity %+v", e)
			}
			d := e.Designations[0]
			if d.Authority != "OFAC" || d.Programme != "CYBER2" || d.ListID != "101" || string(d.Designated) != tt.designated || !strings.HasPrefix(d.List, "SDN") {
				t.Errorf("designation %+v", d)
			}
			if got := brief(res.Entities[:1]); len(got) != 1 || got[0] != "domain hosting-example.net" {
				t.Errorf("websites %q", got)
			}
			weak := ""
			for _, a := range e.Aliases {
				if a.Confidence == rules.ConfidenceLow {
					weak += a.Name
				}
			}
			if !strings.Contains(weak, "EXH") || strings.Contains(weak, "HOST ") {
				t.Errorf("aliases %+v", e.Aliases)
			}
			if strings.Contains(e.Note, "SECRET") {
				t.Errorf("a person's document is in the note: %s", e.Note)
			}
			roundTrip(t, res.Entities)
		})
	}
}

func TestOFACClassicDetails(t *testing.T) {
	res := mustImport(t, ofacRequest(t, "c.xml", ofacClassicXML))
	checkRejections(t, &res.Report, []string{"4 website: ", "10 a vessel", "11 a party without a usable list id"})
	if len(res.Entities) != 2 || res.Entities[1].Kind != rules.KindPerson || res.Entities[1].Name != "Ann EXAMPLE" {
		t.Errorf("entities %+v", res.Entities)
	}
	if s := res.Entities[0].Sources[0]; s.Date != "2026-09-18" {
		t.Errorf("the list's own date is lost: %+v", s)
	}
	req := ofacRequest(t, "c.xml", ofacClassicXML)
	req.Programmes = []string{"RUSSIA"}
	if res := mustImport(t, req); len(res.Entities) != 1 {
		t.Errorf("%d entities under RUSSIA, want 1", len(res.Entities))
	}
}

func TestOFACBudgetOfOneParty(t *testing.T) {
	huge := "<sdnList><sdnEntry><uid>1</uid><lastName>" + strings.Repeat("x", maxOFACEntry+1<<16) + "</lastName></sdnEntry></sdnList>"
	if _, err := Import(context.Background(), ofacRequest(t, "c.xml", huge)); !errors.Is(err, ErrTooBig) {
		t.Errorf("got %v", err)
	}
	deep := "<sdnList>" + strings.Repeat("<a>", 1000)
	if _, err := Import(context.Background(), ofacRequest(t, "c.xml", deep)); err == nil || !strings.Contains(err.Error(), "nested too deep") {
		t.Errorf("got %v", err)
	}
}

func TestLifted(t *testing.T) {
	before := mustImport(t, ofacRequest(t, "c.xml", ofacClassicXML)).Entities
	lifted := Lifted(before, before[1:], "2026-10-01")
	if len(lifted) != 1 || lifted[0].ID != "ofac-101" || lifted[0].Designations[0].Lifted != "2026-10-01" {
		t.Fatalf("got %+v", lifted)
	}
	if before[0].Designations[0].Lifted != "" {
		t.Error("the older list was changed")
	}
	if err := lifted[0].Validate(); err != nil {
		t.Error(err)
	}
}

package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport/rules"
)

// zeekTypes are Zeek's types a flow can show. Intel::DOMAIN is compared whole in
// Zeek, so the name alone is meant; Intel::CERT_HASH is the SHA-1 of a
// certificate's DER.
var zeekTypes = map[string]rules.IndicatorType{
	"Intel::ADDR":      rules.TypeIP,
	"Intel::SUBNET":    rules.TypeCIDR,
	"Intel::DOMAIN":    rules.TypeURLHost,
	"Intel::URL":       "",
	"Intel::CERT_HASH": rules.TypeTLSSHA1,
}

// readZeek reads a Zeek intelligence file: tab-separated, its columns named by
// the #fields line.
func readZeek(ctx context.Context, j *job) error {
	var columns []string
	err := eachLine(ctx, j, func(line int, s string) error {
		if names, ok := strings.CutPrefix(s, "#fields\t"); ok {
			columns = strings.Split(names, "\t")
			if !slices.Contains(columns, "indicator") || !slices.Contains(columns, "indicator_type") {
				return errors.New("#fields must name indicator and indicator_type")
			}
			return nil
		}
		if strings.TrimSpace(s) == "" || strings.HasPrefix(s, "#") {
			return nil
		}
		if columns == nil {
			return errors.New("no #fields line stands before the first row: not a Zeek intelligence file")
		}
		j.report.Rows++
		cells := strings.Split(s, "\t")
		if len(cells) != len(columns) {
			j.reject(line, s, fmt.Sprintf("a row of other than %d columns: are they separated by tabs?", len(columns)))
			return nil
		}
		row := map[string]string{}
		for i, c := range columns {
			if cells[i] != "-" {
				row[c] = strings.TrimSpace(cells[i])
			}
		}
		return j.addZeek(line, row)
	})
	if err == nil && columns == nil {
		err = errors.New("no #fields line: not a Zeek intelligence file")
	}
	return err
}

func (j *job) addZeek(line int, row map[string]string) error {
	value := row["indicator"]
	kind, ok := zeekTypes[row["indicator_type"]]
	if !ok {
		j.reject(line, value, fmt.Sprintf("type %q, which no flow shows or Zeek does not know", printable(row["indicator_type"], 60)))
		return nil
	}
	in := indicator(kind, refang(value))
	if row["indicator_type"] == "Intel::URL" {
		var err error
		if in, err = fromURL("x://" + refang(value)); err != nil {
			j.reject(line, value, reason(err))
			return nil
		}
	}
	if desc := row["meta.desc"]; desc != "" {
		in.Note = strings.Trim(in.Note+"; "+desc, "; ")
	}
	if name := row["meta.source"]; name != "" {
		in.Sources = []rules.Claim{{Source: j.source(rules.Source{Name: name}), Note: printable(row["meta.url"], 300)}}
	}
	return j.add(line, value, in)
}

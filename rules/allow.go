package rules

import (
	"fmt"
	"net/netip"
	"os"
	"path"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Exception is what every entry that silences findings must say.
type Exception struct {
	Reason string `yaml:"reason"`
	Author string `yaml:"author"`
	Until  Date   `yaml:"until"` // the last day it holds
}

// AllowEntry silences findings about one remote, name or entity. What it leaves
// empty is not asked; one of value and entity must be given.
type AllowEntry struct {
	Value      string `yaml:"value,omitempty"`      // address, prefix, or name with the names below it
	Entity     string `yaml:"entity,omitempty"`     // id
	Executable string `yaml:"executable,omitempty"` // path, or pattern as of path.Match
	Host       string `yaml:"host,omitempty"`       // pattern as of path.Match
	Exception  `yaml:",inline"`
}

// ApprovedTool silences findings about one tool used as agreed.
type ApprovedTool struct {
	Product   string `yaml:"product"`            // the identified product, or its protocol
	Endpoint  string `yaml:"endpoint,omitempty"` // address, prefix, or name with the names below it
	Owner     string `yaml:"owner,omitempty"`    // executable: path, or pattern as of path.Match
	User      string `yaml:"user,omitempty"`
	Exception `yaml:",inline"`
}

// AllowList is the allow-list file.
type AllowList struct {
	Allow []AllowEntry `yaml:"allow"`
}

// ApprovedTools is the approved-tools file.
type ApprovedTools struct {
	Approved []ApprovedTool `yaml:"approved"`
}

// LoadAllowList reads an allow-list file. The error is Faults when it is about
// content.
func LoadAllowList(file string) (*AllowList, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("load exceptions: %w", err)
	}
	return ParseAllowList(file, data)
}

// ParseAllowList reads the content of one; file is for errors.
func ParseAllowList(file string, data []byte) (*AllowList, error) {
	var list AllowList
	return &list, readExceptions(file, data, &list, func() []defect { return list.defects() })
}

// LoadApprovedTools reads an approved-tools file. The error is Faults when it
// is about content.
func LoadApprovedTools(file string) (*ApprovedTools, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("load exceptions: %w", err)
	}
	return ParseApprovedTools(file, data)
}

// ParseApprovedTools reads the content of one; file is for errors.
func ParseApprovedTools(file string, data []byte) (*ApprovedTools, error) {
	var tools ApprovedTools
	return &tools, readExceptions(file, data, &tools, func() []defect { return tools.defects() })
}

func readExceptions(file string, data []byte, into any, check func() []defect) (err error) {
	defer guard(file, &err)
	body, err := parseExceptions(file, data, into)
	if err != nil || body == nil {
		return err
	}
	return locate(file, body, check()).asError()
}

func parseExceptions(file string, data []byte, into any) (ast.Node, error) {
	if err := checkBounds(file, data); err != nil {
		return nil, err
	}
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, Faults{yamlFault(file, err)}
	}
	if len(parsed.Docs) == 0 || parsed.Docs[0].Body == nil {
		return nil, nil // an empty file allows nothing
	}
	body := parsed.Docs[0].Body
	if f := refuseAliases(file, body); f != nil {
		return nil, f
	}
	if err := yaml.NodeToValue(body, into, yaml.Strict()); err != nil {
		return nil, Faults{yamlFault(file, err)}
	}
	return body, nil
}

func (l *AllowList) defects() []defect {
	c := &checker{}
	for i := range l.Allow {
		e, where := &l.Allow[i], at("$.allow", i)
		if e.Value == "" && e.Entity == "" {
			c.add(where, "give a value or an entity; an entry about everything would blind the host", "the entry says nothing about the remote")
		}
		c.exception(where, e.Exception)
		c.target(where+".value", e.Value)
		c.pattern(where+".executable", e.Executable)
		c.pattern(where+".host", e.Host)
	}
	return c.found
}

func (t *ApprovedTools) defects() []defect {
	c := &checker{}
	for i := range t.Approved {
		e, where := &t.Approved[i], at("$.approved", i)
		c.require(where+".product", e.Product)
		c.exception(where, e.Exception)
		c.target(where+".endpoint", e.Endpoint)
		c.pattern(where+".owner", e.Owner)
	}
	return c.found
}

func (c *checker) exception(where string, e Exception) {
	c.require(where+".reason", e.Reason)
	c.require(where+".author", e.Author)
	if !e.Until.Known() {
		c.add(where+".until", "write the last day it holds, as YYYY-MM-DD", "the entry has no expiry")
	}
}

func (c *checker) target(where, value string) {
	if value == "" {
		return
	}
	if _, err := parsePrefix(value); err == nil {
		return
	}
	if _, err := normaliseName(value); err != nil {
		c.add(where, "write an address, a prefix or a DNS name", "%q is none of these", value)
	}
}

func (c *checker) pattern(where, pattern string) {
	if _, err := path.Match(pattern, ""); err != nil {
		c.add(where, "check its brackets", "%q is no pattern", pattern)
	}
}

// suppressed returns the exception that silences a finding, or nil. An expired
// one silences nothing.
func (j *Judge) suppressed(o *Observation, matches []Match, now time.Time) *Suppressed {
	if j.Allow != nil {
		for i := range j.Allow.Allow {
			if e := &j.Allow.Allow[i]; e.holds(now) && e.covers(o, matches) {
				return e.suppressed("allow_list")
			}
		}
	}
	if j.Approved != nil {
		for i := range j.Approved.Approved {
			if t := &j.Approved.Approved[i]; t.holds(now) && t.covers(o) {
				return t.suppressed("approved_tool")
			}
		}
	}
	return nil
}

func (e *Exception) holds(now time.Time) bool { return now.Before(e.Until.End()) }

func (e *Exception) suppressed(by string) *Suppressed {
	return &Suppressed{By: by, Reason: e.Reason, Author: e.Author, Until: string(e.Until)}
}

func (e *AllowEntry) covers(o *Observation, matches []Match) bool {
	if e.Entity != "" && (len(matches) == 0 || matches[0].Entity.ID != e.Entity) {
		return false
	}
	return (e.Value == "" || remoteIs(o, e.Value)) && glob(e.Executable, executableOf(o)) && glob(e.Host, o.Host)
}

func (t *ApprovedTool) covers(o *Observation) bool {
	id := &o.Identification
	if !strings.EqualFold(t.Product, id.Product) && !strings.EqualFold(t.Product, id.Protocol) {
		return false
	}
	if t.User != "" && (o.Owner.Process == nil || o.Owner.Process.User != t.User) {
		return false
	}
	return (t.Endpoint == "" || remoteIs(o, t.Endpoint)) && glob(t.Owner, executableOf(o))
}

func glob(pattern, value string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(pattern, value)
	return ok && err == nil
}

func executableOf(o *Observation) string {
	if o.Owner.Process == nil {
		return ""
	}
	return o.Owner.Process.Executable
}

// remoteIs says whether the remote is the address, in the prefix, or of the
// name. Every address of the flow must agree: one entry must not silence a
// proxy's address and the true remote behind it alike. Of the names, only those
// a DNS answer bound count: an SNI is whatever the owner chose to send.
func remoteIs(o *Observation, value string) bool {
	if p, err := parsePrefix(value); err == nil {
		in := func(a netip.Addr) bool { return !a.IsValid() || p.Contains(a.Unmap()) }
		return in(o.Remote.Addr) && (o.RemoteAsked == nil || in(o.RemoteAsked.Addr)) && (o.Hidden == nil || (in(o.Hidden.Addr) && o.Hidden.Host == ""))
	}
	below := func(name string) bool {
		name = plainName(name)
		return name == value || strings.HasSuffix(name, "."+value)
	}
	if o.Hidden != nil {
		return below(o.Hidden.Host)
	}
	if o.Query != "" {
		return below(o.Query)
	}
	for _, n := range o.Names {
		if n.Source == "dns" && below(n.Name) {
			return true
		}
	}
	return false
}

package account

import (
	"strings"
	"testing"
	"time"
)

func goodOIDC() OIDCConfig {
	c := DefaultOIDCConfig()
	c.Issuer, c.ClientID, c.RedirectURL = "https://id.example/realm", "sallyport", "https://collector.example:8444"+OIDCCallback
	c.Roles = []GroupRole{{Group: "soc", Role: Analyst}, {Group: "leads", Role: Admin}, {Group: "audit", Role: Auditor}, {Group: "forensics", Role: Viewer, Evidence: true}}
	return c
}

func TestGroupsGiveRoles(t *testing.T) {
	c := goodOIDC()
	for _, tt := range []struct {
		groups   []string
		standing string // default_role
		want     string
		evidence bool
	}{
		{nil, "", "", false},
		{[]string{"others"}, "", "", false},
		{[]string{"others"}, Viewer, Viewer, false},
		{[]string{"soc"}, "", Analyst, false},
		{[]string{"leads", "soc"}, "", Admin, false},
		{[]string{"soc", "audit"}, "", Auditor, false},
		{[]string{"forensics", "soc"}, "", Analyst, true},
		{[]string{"SOC", "soc "}, "", "", false},
		{[]string{"forensics"}, Analyst, Analyst, true},
	} {
		c.DefaultRole = tt.standing
		if role, evidence := c.role(tt.groups); role != tt.want || evidence != tt.evidence {
			t.Errorf("%q by default %q: %q, %t; want %q, %t", tt.groups, tt.standing, role, evidence, tt.want, tt.evidence)
		}
	}
}

func TestOIDCConfigIsChecked(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*OIDCConfig)
		want string
	}{
		"good":             {func(*OIDCConfig) {}, ""},
		"plain issuer":     {func(c *OIDCConfig) { c.Issuer = "http://id.example" }, "issuer"},
		"other callback":   {func(c *OIDCConfig) { c.RedirectURL = "https://collector.example/" }, "redirect_url"},
		"no client":        {func(c *OIDCConfig) { c.ClientID = "" }, "client_id"},
		"nobody":           {func(c *OIDCConfig) { c.Roles = nil }, "nobody could sign in"},
		"everybody":        {func(c *OIDCConfig) { c.Roles, c.DefaultRole = nil, Viewer }, ""},
		"no such role":     {func(c *OIDCConfig) { c.Roles[0].Role = "root" }, "root"},
		"no such default":  {func(c *OIDCConfig) { c.DefaultRole = "root" }, "default_role"},
		"relative secret":  {func(c *OIDCConfig) { c.ClientSecretFile = "x" }, "absolute"},
		"no claims":        {func(c *OIDCConfig) { c.GroupsClaim = "" }, "claim"},
		"only, and nobody": {func(c *OIDCConfig) { c.Issuer, c.Only = "", true }, "nobody could sign in"},
	} {
		c := goodOIDC()
		tt.edit(&c)
		if err := c.Validate(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPeopleOfTheProvider holds that nobody becomes somebody else by a name.
func TestPeopleOfTheProvider(t *testing.T) {
	cfg := DefaultConfig()
	cfg.OIDC = goodOIDC()
	a, s := accounts(t, cfg)
	ctx := t.Context()
	admit := func(subject, name string, groups ...string) error {
		return a.admitPerson(ctx, person{subject: subject, name: name, groups: groups}, time.Now())
	}
	if err := admit("1", "admin", "soc"); err != nil {
		t.Fatal(err)
	}
	u, err := s.User(ctx, "oidc:admin")
	if err != nil || u.Role != Analyst {
		t.Fatalf("user %+v, %v", u, err)
	}
	if _, err := a.SignIn(ctx, "oidc:admin", u.PasswordHash, "x"); err == nil {
		t.Error("signed in with a password that nobody has")
	}
	if _, err := a.ResetPassword(ctx, "oidc:admin"); err == nil {
		t.Error("given a password")
	}
	if _, err := a.AddUser(ctx, "oidc:admin", Admin, true); err == nil {
		t.Error("a user made here is called as one of the provider's")
	}
	if err := admit("2", "admin", "leads"); err == nil || !strings.Contains(err.Error(), "another person") {
		t.Errorf("the name was given to another: %v", err)
	}
	if err := admit("1", "admin", "leads"); err != nil {
		t.Fatal(err)
	}
	if u, err = s.User(ctx, "oidc:admin"); err != nil || u.Role != Admin {
		t.Errorf("the role follows the groups: %+v, %v", u, err)
	}
	secret, err := a.open(ctx, "oidc:admin", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := admit("1", "admin"); err == nil {
		t.Error("in no group any more, and let in")
	}
	if _, err := a.Session(ctx, secret); err == nil {
		t.Error("in no group any more, and the session goes on")
	}
}

func TestClaimsNameAPerson(t *testing.T) {
	p := &provider{cfg: goodOIDC()}
	for name, tt := range map[string]struct {
		claims map[string]any
		want   string // "" where it is a person
	}{
		"good":           {map[string]any{"sub": "1", "email": "maria@example.org", "email_verified": true, "groups": []any{"soc", 7}}, ""},
		"one group":      {map[string]any{"sub": "1", "email": "maria@example.org", "groups": "soc"}, ""},
		"not verified":   {map[string]any{"sub": "1", "email": "maria@example.org", "email_verified": false, "groups": "soc"}, "not verified"},
		"no subject":     {map[string]any{"email": "maria@example.org", "groups": "soc"}, "cannot be a user's name"},
		"hostile name":   {map[string]any{"sub": "1", "email": "<b>@example.org", "groups": "soc"}, "cannot be a user's name"},
		"name of a list": {map[string]any{"sub": "1", "email": []any{"maria"}, "groups": "soc"}, "cannot be a user's name"},
	} {
		who, err := p.person(t.Context(), nil, nil, tt.claims)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (who.name != "maria@example.org" || len(who.groups) != 1 || who.groups[0] != "soc") {
			t.Errorf("%s: %+v", name, who)
		}
	}
}

package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sallyport/rules"
	"sallyport/rules/detections"
	"sallyport/rules/pack"
)

func newRulesPack(env environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pack",
		Short: "Build, sign, verify, compare and import packs",
	}
	cmd.AddCommand(
		newPackBuild(env),
		newPackSign(env),
		newPackVerify(env),
		newPackDiff(env),
		newPackImport(env),
		newPackKey(env),
		newPackDelegate(env),
	)
	return cmd
}

// packBuild are the flags of rules pack build.
type packBuild struct {
	output, name, note string
	version, rollback  uint64
	days               int
	shrinks            bool
	detections         string
	allow, approved    string
	asn                string
	own                []string
	signer             packSigner
}

func newPackBuild(env environment) *cobra.Command {
	b := packBuild{}
	cmd := &cobra.Command{
		Use:   "build -o FILE [PATH...]",
		Short: "Build a pack of entity files and folders, or of what ships",
		Long: `Build a pack of the entity files and folders given, or of the entities and
detections that ship when none is. Without --key the pack is unsigned: sign it
where the key is kept. The same content always makes the same pack.`,
		Example: `  sallyport rules pack build -o new.pack --version 12 --asn-db GeoLite2-ASN.mmdb
  sallyport rules pack build -o site.pack --name local --version 3 --key local.key --chain local.chain my-entities/`,
		RunE: func(_ *cobra.Command, paths []string) error {
			return b.run(env.stdout, paths, time.Now())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&b.output, "output", "o", "", "`FILE` to write")
	f.StringVar(&b.name, "name", "sallyport", "`NAME` of the pack")
	f.Uint64Var(&b.version, "version", 0, "version, above that of every pack of this name before")
	f.Uint64Var(&b.rollback, "rollback-of", 0, "the older `VERSION` whose content this is")
	f.IntVar(&b.days, "days", 90, "days until the pack counts as stale")
	f.BoolVar(&b.shrinks, "shrinks", false, "say under the signature that agents shall take the pack though it leaves less than half of their indicators")
	f.StringVar(&b.note, "note", "", "what is new, for people")
	f.StringVar(&b.detections, "detections", "", "`FOLDER` of Sigma rules")
	f.StringVar(&b.allow, "allow", "", "`FILE` of an allow-list for the pack")
	f.StringVar(&b.approved, "approved", "", "`FILE` of approved tools for the pack")
	f.StringVar(&b.asn, "asn-db", "", "`FILE` of a MaxMind ASN database: the prefixes of every autonomous system that is an indicator")
	f.StringSliceVar(&b.own, "own", nil, "`PREFIX` of your own, in which no indicator may be (repeatable)")
	b.signer.flags(cmd)
	required(cmd, "output", "version")
	return cmd
}

func (b *packBuild) run(w io.Writer, paths []string, now time.Time) error {
	c := pack.Contents{
		Name: b.name, Version: b.version, RollbackOf: b.rollback, Shrinks: b.shrinks, Note: b.note,
		Created: now, Expires: now.AddDate(0, 0, b.days), Detections: map[string][]byte{},
	}
	var err error
	if c.Entities, err = loadEntities(paths); err != nil {
		return err
	}
	if c.Detections, err = b.readDetections(len(paths) == 0); err != nil {
		return err
	}
	if err := b.readRest(&c); err != nil {
		return err
	}
	signer, err := b.signer.read()
	if err != nil {
		return err
	}
	if err := writeWhole(b.output, func(w io.Writer) error { return pack.Build(w, c, signer) }); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %d entities, %d detections, %s\n", plain(b.output), len(c.Entities), len(c.Detections), map[bool]string{true: "signed", false: "not signed"}[signer != nil])
	if c.ASN == nil {
		return nil
	}
	return describeASN(w, b.output)
}

// readRest reads what else the flags name.
func (b *packBuild) readRest(c *pack.Contents) (err error) {
	for _, text := range b.own {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("--own %q is no prefix: write it like 198.51.100.0/24", plain(text))
		}
		c.Own = append(c.Own, p)
	}
	for path, to := range map[string]*[]byte{b.allow: &c.Allow, b.approved: &c.Approved} {
		if path == "" {
			continue
		}
		if *to, err = os.ReadFile(path); err != nil {
			return fmt.Errorf("read policy: %w", err)
		}
	}
	if b.asn != "" {
		c.ASN, err = asnTable(b.asn, c.Entities)
	}
	return err
}

// readDetections reads the folder's rules, or those that ship.
func (b *packBuild) readDetections(shipped bool) (map[string][]byte, error) {
	out := map[string][]byte{}
	if b.detections == "" && !shipped {
		return out, nil
	}
	if b.detections == "" {
		entries, err := detections.FS.ReadDir(".")
		if err != nil {
			return nil, fmt.Errorf("read detections: %w", err)
		}
		for _, e := range entries {
			if out[e.Name()], err = detections.FS.ReadFile(e.Name()); err != nil {
				return nil, fmt.Errorf("read detections: %w", err)
			}
		}
		return out, nil
	}
	files, err := filepath.Glob(filepath.Join(b.detections, "*.yml"))
	if err != nil {
		return nil, fmt.Errorf("read detections: %w", err)
	}
	for _, file := range files {
		if out[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("read detections: %w", err)
		}
	}
	return out, nil
}

// packSigner are the flags of whoever signs.
type packSigner struct{ key, chain string }

func (s *packSigner) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.key, "key", "", "`FILE` of the private key to sign with")
	cmd.Flags().StringVar(&s.chain, "chain", "", "`FILE` of the statements that let the key sign")
	cmd.MarkFlagsRequiredTogether("key", "chain")
}

// read returns nil when no key was given.
func (s *packSigner) read() (*pack.Signer, error) {
	if s.key == "" {
		return nil, nil
	}
	key, err := pack.ReadPrivateKey(s.key)
	if err != nil {
		return nil, err
	}
	chain, err := pack.ReadChain(s.chain)
	if err != nil {
		return nil, err
	}
	return &pack.Signer{Key: key, Chain: chain}, nil
}

func newPackSign(env environment) *cobra.Command {
	var output string
	var s packSigner
	cmd := &cobra.Command{
		Use:   "sign FILE -o FILE --key FILE --chain FILE",
		Short: "Sign a pack; its content and digest stay",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := pack.OpenUnverified(args[0])
			if err != nil {
				return err
			}
			signer, err := s.read()
			if err != nil {
				return err
			}
			if err := writeWhole(output, func(w io.Writer) error { return pack.Sign(w, p, *signer) }); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.stdout, "%s: %s, digest %s\n", plain(output), plain(p.Ref().String()), p.Digest)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write")
	s.flags(cmd)
	required(cmd, "output", "key", "chain")
	return cmd
}

func newPackDiff(env environment) *cobra.Command {
	var past string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say in words what changes when one pack takes the place of another",
		Long: `Say in words what changes when one pack takes the place of another and, against
this host's history, what the new one would have found. A pack that is not the
vendor's own is judged beside what ships. Signatures are not asked for.`,
		Example: `  sallyport rules pack diff old.pack new.pack
  sallyport rules pack diff old.pack new.pack --history /var/lib/sallyport/history.db`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			before, err := pack.OpenUnverified(args[0])
			if err != nil {
				return err
			}
			after, err := pack.OpenUnverified(args[1])
			if err != nil {
				return err
			}
			d, err := pack.Diff(before, after)
			if err != nil {
				return fmt.Errorf("compare packs: %w", err)
			}
			if len(d.Words) == 0 {
				fmt.Fprintln(env.stdout, "nothing changes")
			}
			for _, line := range d.Words {
				fmt.Fprintln(env.stdout, plain(line))
			}
			if past == "" {
				return nil
			}
			return previewPack(cmd.Context(), env.stdout, before, after, past)
		},
	}
	cmd.Flags().StringVar(&past, "history", "", "`FILE` of the history to ask what the new pack would have found")
	return cmd
}

// feedPack adds what is at a path to a builder: a pack file, whose signature is
// not asked for here and which says so in its name, or entity files.
func feedPack(b *rules.Builder, path string) error {
	if isPack(path) {
		p, err := pack.OpenUnverified(path)
		if err != nil {
			return err
		}
		p.Manifest.Name += " (signature not checked)"
		return p.Feed(b)
	}
	return b.Path(path)
}

// isPack knows a pack file by zstd's magic number (RFC 8878 3.1.1).
func isPack(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	var magic [4]byte
	_, err = io.ReadFull(file, magic[:])
	return err == nil && magic == [4]byte{0x28, 0xB5, 0x2F, 0xFD}
}

// required marks flags that this file has just defined.
func required(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic(err)
		}
	}
}

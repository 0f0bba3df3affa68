package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// Why an import does not go on.
var (
	ErrImportOther = admit.Conflict.New("import_differs", "Another file that began like this one was imported, or in part.").WithHint("--again begins anew; who is there already is then refused, line by line")
	errManyArrived = errors.New("a piece of an import is answered with another one's state")
)

// ImportOptions say how users are imported.
type ImportOptions struct {
	Map      map[string]string // what a column or member of another name is; "" leaves it out
	Insecure string            // hashes that cost nothing to guess at: "wrap", which "" is too, "keep" or "refuse"
	Update   bool              // bring who is there to what the file says
	DryRun   bool              // only say what would be
	Again    bool              // forget how far the same file was taken before
	Report   io.Writer         // gets a JSON object for each line that was refused; may be nil
	Refused  func(LineRefusal) // is told of each in this run; may be nil
	Progress func(ImportCount) // is told how far it is; may be nil
}

// A LineRefusal says why a line was not taken.
type LineRefusal struct {
	Line   int    `json:"line"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// An ImportCount is how far an import is.
type ImportCount struct {
	Bytes   int64 `json:"bytes"`
	Users   int   `json:"users"`   // lines that are no blank ones
	Made    int   `json:"made"`    // new ones
	Updated int   `json:"updated"` // changed
	There   int   `json:"there"`   // had been there, unchanged
	Refused int   `json:"refused"`
	Before  int   `json:"before"` // of Users, how many earlier runs had taken
}

// What crosses the socket.
type (
	arrival struct {
		account.Arrival
		Why *LineRefusal `json:",omitempty"`
	}
	importPiece struct {
		From, To account.ImportState
		Arrivals []arrival
		Insecure string
		Mend     bool
		Dry      bool
	}
	importAnswer struct {
		State   account.ImportState
		Refused []account.LineRefusal
	}
	refusalPage struct {
		ID           string
		After, Limit int
	}
	exportPage struct {
		After  string
		Limit  int
		Hashes bool
		Secret bool // of second factors
	}
)

// A piece of an import is as large as others can wait for.
const (
	maxPiece      = 1000
	maxPieceBytes = 400 << 10
	longPiece     = time.Second
	importTries   = 5
	importPause   = time.Second
)

// ImportUsers makes the users of a file: JSON lines or CSV, see docs/how-to. Each
// line stands for itself. It may be broken off at any time, and run again: it goes
// on after the last line that is durable, if what is before is the same.
func (o *Operator) ImportUsers(ctx context.Context, from io.Reader, opt ImportOptions) (ImportCount, error) {
	file, head, err := openUsers(from, opt.Map)
	if err != nil {
		return ImportCount{}, err
	}
	im := &importing{o: o, opt: opt, file: file, size: maxPiece, seen: map[uint64]bool{}, seed: maphash.MakeSeed(), wait: func() error { return nil }}
	im.state.ID = importID(head, opt)
	if !opt.DryRun {
		if opt.Again {
			if _, err := ask[none](ctx, o, "import-drop", im.state.ID); err != nil {
				return ImportCount{}, err
			}
		}
		if im.state, err = ask[account.ImportState](ctx, o, "import-state", im.state.ID); err != nil {
			return ImportCount{}, err
		}
	}
	im.before = im.state
	err = im.run(ctx)
	err = errors.Join(err, im.wait())
	if opt.Report != nil && !opt.DryRun {
		err = errors.Join(err, o.report(context.WithoutCancel(ctx), im.state.ID, opt.Report))
	}
	return im.count(), err
}

// importID names what is imported, by how it begins, and how.
func importID(head []byte, opt ImportOptions) string {
	h := sha256.New()
	h.Write(head)
	fmt.Fprintf(h, "\x00%t %q", opt.Update, opt.Insecure)
	for _, k := range slices.Sorted(maps.Keys(opt.Map)) {
		fmt.Fprintf(h, " %q=%q", k, opt.Map[k])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// An importing is an import that runs.
type importing struct {
	o       *Operator
	opt     ImportOptions
	file    *userFile
	size    int // of a piece
	seed    maphash.Seed
	seen    map[uint64]bool // names of lines before: 16 MB or so for a million
	users   int
	skipped bool // what earlier runs have taken

	before account.ImportState

	// What the piece that is under way changes; read after wait.
	wait  func() error
	state account.ImportState
	took  time.Duration
}

func (im *importing) count() ImportCount {
	s := im.state
	return ImportCount{s.Bytes, s.Lines, s.Made, s.Mended, s.There, s.Lines - s.Made - s.Mended - s.There, im.before.Lines}
}

func (im *importing) run(ctx context.Context) error {
	im.skipped = im.before.Bytes == 0
	var piece []arrival
	var size int64
	last := im.before.Bytes
	for {
		record, line, err := im.file.next()
		end := errors.Is(err, io.EOF)
		if err != nil && !end && !refusesLine(err) {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if !im.skipped {
			if end || im.file.in.end > im.before.Bytes {
				return ErrImportOther
			}
			im.users++
			if err == nil {
				im.twice(&record)
			}
			if im.skipped = im.file.in.end == im.before.Bytes; im.skipped && im.file.in.at(im.before.Bytes) != im.before.Digest {
				return ErrImportOther
			}
			continue
		}
		if !end {
			im.users++
			if err == nil {
				err = im.twice(&record)
			}
			a := arrival{Arrival: record.arrival(line)}
			if err != nil {
				r := RefusalOf(err)
				a = arrival{Arrival: account.Arrival{Line: line}, Why: &LineRefusal{line, r.Code, r.Detail}}
			}
			piece = append(piece, a)
			size += im.file.in.end - last
			last = im.file.in.end
		}
		if end && last == im.before.Bytes && im.before.Done { // nothing has come since
			return nil
		}
		if end || len(piece) >= im.size || size >= maxPieceBytes {
			to := account.ImportState{ID: im.before.ID, Bytes: im.file.in.end, Digest: im.file.in.at(im.file.in.end), Lines: im.users, Done: end}
			if err := im.send(ctx, to, piece); err != nil {
				return err
			}
			piece, size = nil, 0
		}
		if end {
			return nil
		}
	}
}

// refusesLine reports whether one line is at fault, and not the reading.
func refusesLine(err error) bool {
	k := admit.KindOf(err)
	return k == admit.Invalid || k == admit.Conflict
}

// twice returns errTwice where a line before has one of the names.
func (im *importing) twice(u *userRecord) error {
	keys := make([]uint64, 0, 4)
	add := func(kind, value string) {
		if value != "" {
			keys = append(keys, maphash.String(im.seed, kind+value))
		}
	}
	add("id:", u.ID)
	add("external:", u.ExternalID)
	a := u.arrival(0)
	for _, i := range a.User.Identifiers {
		if id, err := account.ParseIdentifier(i.Value); err == nil {
			add("name:", id.Value)
		}
	}
	for _, k := range keys {
		if im.seen[k] {
			return errTwice
		}
	}
	for _, k := range keys {
		im.seen[k] = true
	}
	return nil
}

// send lets a piece be taken while the next one is read.
func (im *importing) send(ctx context.Context, to account.ImportState, piece []arrival) error {
	if err := im.wait(); err != nil {
		im.wait = func() error { return nil }
		return err
	}
	if err := ctx.Err(); err != nil {
		im.wait = func() error { return nil }
		return err
	}
	switch { // hashes that are wrapped take 25 ms each, and who breaks off waits
	case im.took > longPiece:
		im.size = max(im.size/2, 10)
	case im.took < longPiece/4:
		im.size = min(im.size*2, maxPiece)
	}
	done := make(chan error, 1)
	from := im.state
	go func() {
		done <- im.take(ctx, importPiece{from, to, piece, im.opt.Insecure, im.opt.Update, im.opt.DryRun})
	}()
	im.wait = func() error { return <-done }
	return nil
}

func (im *importing) take(ctx context.Context, p importPiece) error {
	begun := time.Now()
	// What is under way ends: half of it is not known to be done.
	ctx = context.WithoutCancel(ctx)
	answer, err := ask[importAnswer](ctx, im.o, "import-users", p)
	for try := 0; errors.Is(err, admit.Unavailable) && try < importTries; try++ {
		// Such as a database that was busy for ten seconds. The piece may have been
		// taken all the same: then the report has what was refused.
		time.Sleep(importPause)
		if answer.State, err = ask[account.ImportState](ctx, im.o, "import-state", p.To.ID); err == nil && (p.Dry || answer.State.Bytes != p.To.Bytes) {
			answer, err = ask[importAnswer](ctx, im.o, "import-users", p)
		}
	}
	if err != nil {
		return err
	}
	if answer.State.Bytes != p.To.Bytes {
		return errManyArrived
	}
	im.state, im.took = answer.State, time.Since(begun)
	for _, r := range answer.Refused {
		if im.opt.Refused != nil {
			im.opt.Refused(LineRefusal(r))
		}
		if im.opt.Report != nil && im.opt.DryRun {
			if err := writeRefusal(im.opt.Report, r); err != nil {
				return err
			}
		}
	}
	if im.opt.Progress != nil {
		im.opt.Progress(im.count())
	}
	return nil
}

func writeRefusal(to io.Writer, r account.LineRefusal) error {
	b, err := json.Marshal(LineRefusal(r))
	if err == nil {
		_, err = to.Write(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// report writes all lines of an import that were refused, by earlier runs too.
func (o *Operator) report(ctx context.Context, id string, to io.Writer) error {
	for after := 0; ; {
		page, err := ask[[]account.LineRefusal](ctx, o, "import-refusals", refusalPage{id, after, maxPiece})
		if err != nil || len(page) == 0 {
			return err
		}
		var b bytes.Buffer
		for _, r := range page {
			if err := writeRefusal(&b, r); err != nil {
				return err
			}
		}
		if _, err := to.Write(b.Bytes()); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		after = page[len(page)-1].Line
	}
}

// moverOperations adds what import and export ask.
func (s *Server) moverOperations(all map[string]operation) {
	all["import-state"] = op(func(ctx context.Context, id string) (account.ImportState, error) {
		return s.accounts.ImportState(ctx, id)
	})
	all["import-drop"] = op(func(ctx context.Context, id string) (none, error) {
		return none{}, s.accounts.DropImport(ctx, id, time.Now())
	})
	all["import-refusals"] = op(func(ctx context.Context, p refusalPage) ([]account.LineRefusal, error) {
		return s.accounts.ImportRefusals(ctx, p.ID, p.After, p.Limit)
	})
	all["export-users"] = op(func(ctx context.Context, p exportPage) ([]ImportedUser, error) {
		found, err := s.accounts.ExportUsers(ctx, p.After, p.Limit, time.Now())
		if err != nil {
			return nil, err
		}
		out := make([]ImportedUser, len(found))
		for i, u := range found {
			out[i] = exported(&u, p.Secret)
			if !p.Hashes {
				out[i].PasswordHash = ""
			}
		}
		return out, nil
	})
	all["import-users"] = op(func(ctx context.Context, p importPiece) (out importAnswer, err error) {
		told := admit.Invalid // of what this program has refused itself
		in := account.Import{From: p.From, To: p.To, Insecure: p.Insecure, Mend: p.Mend, Dry: p.Dry, Arrivals: make([]account.Arrival, len(p.Arrivals))}
		for i, a := range p.Arrivals {
			in.Arrivals[i] = a.Arrival
			if a.Why != nil {
				in.Arrivals[i].Refused = told.New(a.Why.Code, a.Why.Detail)
			}
		}
		out.State, out.Refused, err = s.accounts.ImportUsers(ctx, in, byOperator(""), time.Now())
		return out, err
	})
}

func exported(u *account.Exported, secret bool) ImportedUser {
	out := ImportedUser{User: userOf(u.User), ExternalID: u.ExternalID, MustChange: u.MustChange, PasswordHash: u.Hash}
	for _, k := range u.APIKeys {
		out.APIKeys = append(out.APIKeys, ExportedKey{k.ID, k.Name, k.Scopes, k.Audiences, k.CreatedAt.UTC(), known(k.ExpiresAt), known(k.LastUsed), known(k.EndedAt)})
	}
	for _, f := range u.Factors {
		told := ExportedFactor{ID: f.ID, Kind: string(f.Kind), Name: f.Name, CreatedAt: f.CreatedAt.UTC(), LastUsed: known(f.LastUsed)}
		if secret {
			told.Counter, told.Data = f.Counter, f.Data
			told.Secret = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(f.Secret)
		}
		out.Factors = append(out.Factors, told)
	}
	return out
}

// known returns a time that may not be.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

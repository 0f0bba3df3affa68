package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/web"
)

// What is refused about a file of users, or about one line of it.
var (
	errUserLine   = admit.Invalid.New("line_malformed", "This is no user.").WithHint("one JSON object a line, as export writes it, or CSV with a header")
	errUserColumn = admit.Invalid.New("unknown_column", "There is no such column.").WithHint("--map NAME=OURS says what it is, and --map NAME= leaves it out")
	errUserTime   = admit.Invalid.New("created_malformed", "This is no time at which a user can have begun.").WithHint("such as 2026-01-31T12:00:00Z, or seconds or milliseconds since 1970")
	errUserBool   = admit.Invalid.New("bool_malformed", "This is neither true nor false.")
	errTwice      = admit.Conflict.New("duplicate_in_file", "An earlier line has this name.")
)

// maxUserLine bounds one line, and what quotes hold together in CSV.
const maxUserLine = 64 << 10

// A userFile reads users from JSON lines or CSV, and knows how far it is.
type userFile struct {
	in   *digested
	next func() (userRecord, int, error) // one line and its number; a refusal is of that line
}

// A digested reader can say what was read up to any place that is not long ago.
type digested struct {
	from    io.Reader
	sum     hash.Hash
	base    int64  // what sum has
	pending []byte // what was read after it
	end     int64  // of the line that was taken last
}

func (d *digested) Read(p []byte) (int, error) {
	n, err := d.from.Read(p)
	d.pending = append(d.pending, p[:n]...)
	return n, err
}

func (d *digested) at(offset int64) string {
	n := offset - d.base
	d.sum.Write(d.pending[:n])
	d.base, d.pending = offset, append(d.pending[:0], d.pending[n:]...)
	return hex.EncodeToString(d.sum.Sum(nil))
}

// userRecord is a user as a line has it: as export writes it, or in the words of
// a table.
type userRecord struct {
	ID            string           `json:"id"`
	ExternalID    string           `json:"external_id"`
	Identifiers   []web.Identifier `json:"identifiers"`
	Email         string           `json:"email"`
	EmailVerified bool             `json:"email_verified"`
	Username      string           `json:"username"`
	Phone         string           `json:"phone"`
	PhoneVerified bool             `json:"phone_verified"`
	Name          string           `json:"name"`
	Locale        string           `json:"locale"`
	Roles         *[]string        `json:"roles"`
	CreatedAt     *userTime        `json:"created_at"`
	Disabled      *bool            `json:"disabled"`
	MustChange    bool             `json:"must_change_password"`
	PasswordHash  string           `json:"password_hash"`
	TOTPSecret    string           `json:"totp_secret"`
	Factors       []ExportedFactor `json:"factors"`
	APIKeys       json.RawMessage  `json:"api_keys"` // export tells of them; there is nothing in it to make them of
}

type userTime time.Time

func (t *userTime) UnmarshalJSON(b []byte) error {
	at, err := parseUserTime(strings.Trim(string(b), `"`))
	*t = userTime(at)
	return err
}

func parseUserTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
		switch {
		case n < 1e11:
			return time.Unix(n, 0).UTC(), nil
		case n < 1e14:
			return time.UnixMilli(n).UTC(), nil
		}
	}
	return time.Time{}, errUserTime
}

func parseUserBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "t", "1", "yes", "y":
		return true, nil
	case "false", "f", "0", "no", "n", "":
		return false, nil
	}
	return false, errUserBool
}

// userColumns are what a table may have.
var userColumns = map[string]func(u *userRecord, text string) error{
	"id":          func(u *userRecord, text string) error { u.ID = text; return nil },
	"external_id": func(u *userRecord, text string) error { u.ExternalID = text; return nil },
	"identifiers": func(u *userRecord, text string) error {
		for _, value := range strings.Fields(text) {
			u.Identifiers = append(u.Identifiers, web.Identifier{Value: value})
		}
		return nil
	},
	"email": func(u *userRecord, text string) error { u.Email = text; return nil },
	"email_verified": func(u *userRecord, text string) (err error) {
		u.EmailVerified, err = parseUserBool(text)
		return err
	},
	"username": func(u *userRecord, text string) error { u.Username = text; return nil },
	"phone":    func(u *userRecord, text string) error { u.Phone = text; return nil },
	"phone_verified": func(u *userRecord, text string) (err error) {
		u.PhoneVerified, err = parseUserBool(text)
		return err
	},
	"name":   func(u *userRecord, text string) error { u.Name = text; return nil },
	"locale": func(u *userRecord, text string) error { u.Locale = text; return nil },
	"roles": func(u *userRecord, text string) error {
		roles := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,;|", r) })
		u.Roles = &roles
		return nil
	},
	"created_at": func(u *userRecord, text string) error {
		if text == "" {
			return nil
		}
		t, err := parseUserTime(text)
		u.CreatedAt = (*userTime)(&t)
		return err
	},
	"disabled": func(u *userRecord, text string) error {
		is, err := parseUserBool(text)
		u.Disabled = &is
		return err
	},
	"must_change_password": func(u *userRecord, text string) (err error) {
		u.MustChange, err = parseUserBool(text)
		return err
	},
	"password_hash": func(u *userRecord, text string) error { u.PasswordHash = text; return nil },
	"totp_secret":   func(u *userRecord, text string) error { u.TOTPSecret = text; return nil },
}

// arrival is what becomes of a line.
func (u *userRecord) arrival(line int) account.Arrival {
	a := account.Arrival{Line: line, ExternalID: u.ExternalID, Hash: u.PasswordHash, User: &account.User{
		ID: u.ID, Name: u.Name, Locale: u.Locale, MustChange: u.MustChange,
	}}
	for _, i := range u.Identifiers {
		a.User.Identifiers = append(a.User.Identifiers, account.Identifier{Value: i.Value, Verified: i.Verified})
	}
	for _, i := range []account.Identifier{{Value: u.Email, Verified: u.EmailVerified}, {Value: u.Username}, {Value: u.Phone, Verified: u.PhoneVerified}} {
		if i.Value != "" {
			a.User.Identifiers = append(a.User.Identifiers, i)
		}
	}
	if u.TOTPSecret != "" {
		a.Factors = append(a.Factors, account.ImportedFactor{Kind: account.TOTP, Secret: base32Of(u.TOTPSecret)})
	}
	for _, f := range u.Factors {
		if f.Secret == "" && f.Data == "" {
			continue // export tells of it; there is nothing in it to make it of
		}
		in := account.ImportedFactor{ID: f.ID, Kind: account.FactorKind(f.Kind), Name: f.Name, CreatedAt: f.CreatedAt, Counter: f.Counter, Secret: base32Of(f.Secret), Data: f.Data}
		if f.LastUsed != nil {
			in.LastUsed = *f.LastUsed
		}
		a.Factors = append(a.Factors, in)
	}
	if u.Roles != nil {
		a.User.Roles, a.HasRoles = *u.Roles, true
	}
	if u.CreatedAt != nil {
		a.User.CreatedAt = time.Time(*u.CreatedAt)
	}
	if u.Disabled != nil {
		a.User.Disabled, a.HasDisabled = *u.Disabled, true
	}
	return a
}

// base32Of reads the secret of an authenticator as people write it. What is none is
// one of no bytes, which is refused.
func base32Of(text string) []byte {
	text = strings.ToUpper(strings.NewReplacer(" ", "", "-", "", "=", "").Replace(text))
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil {
		return nil
	}
	return b
}

// openUsers reads the beginning of a file of users; columns say what a column or
// a member of another name is, or "" that it is left out. The head is what a file
// is known again by.
func openUsers(from io.Reader, columns map[string]string) (f *userFile, head []byte, err error) {
	f = &userFile{in: &digested{from: from, sum: sha256.New()}}
	in := bufio.NewReaderSize(f.in, maxUserLine)
	head, err = in.Peek(maxUserLine)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	head = slices.Clone(head)
	bom := 0
	if bytes.HasPrefix(head, []byte("\uFEFF")) {
		bom, _ = in.Discard(3)
	}
	for _, to := range columns {
		if to != "" && userColumns[to] == nil {
			return nil, nil, fmt.Errorf("%s: %w", to, errUserColumn)
		}
	}
	if text := bytes.TrimLeft(head[bom:], " \t\r\n"); len(text) == 0 || text[0] == '{' {
		f.next = jsonUsers(in, f.in, int64(bom), columns)
		return f, head, nil
	}
	f.next, err = csvUsers(in, int64(bom), columns, f.in)
	return f, head, err
}

func jsonUsers(in *bufio.Reader, d *digested, begun int64, columns map[string]string) func() (userRecord, int, error) {
	line := 0
	d.end = begun
	return func() (u userRecord, _ int, err error) {
		for {
			text, err := in.ReadSlice('\n')
			d.end += int64(len(text))
			line++
			if errors.Is(err, bufio.ErrBufferFull) {
				for errors.Is(err, bufio.ErrBufferFull) {
					text, err = in.ReadSlice('\n')
					d.end += int64(len(text))
				}
				if err != nil && !errors.Is(err, io.EOF) {
					return u, line, err
				}
				return u, line, fmt.Errorf("%w (it is longer than %d KiB)", errUserLine, maxUserLine>>10)
			}
			if err != nil && (!errors.Is(err, io.EOF) || len(text) == 0) {
				return u, line, err
			}
			if text = bytes.TrimSpace(text); len(text) == 0 {
				continue
			}
			if len(columns) > 0 {
				if text, err = renamed(text, columns); err != nil {
					return u, line, err
				}
			}
			dec := json.NewDecoder(bytes.NewReader(text))
			dec.DisallowUnknownFields()
			err = dec.Decode(&u)
			if err == nil {
				if _, more := dec.Token(); !errors.Is(more, io.EOF) {
					err = errors.New("something follows the object")
				}
			}
			if err != nil && admit.KindOf(err) != admit.Invalid {
				err = fmt.Errorf("%w (%w)", errUserLine, err)
			}
			return u, line, err
		}
	}
}

// renamed gives members of an object the names that they have here.
func renamed(text []byte, columns map[string]string) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, fmt.Errorf("%w (%w)", errUserLine, err)
	}
	out := map[string]json.RawMessage{}
	for name, value := range members {
		if to, ok := columns[name]; ok {
			name = to
		}
		if name != "" {
			out[name] = value
		}
	}
	return json.Marshal(out)
}

func csvUsers(in *bufio.Reader, begun int64, columns map[string]string, d *digested) (func() (userRecord, int, error), error) {
	table := csv.NewReader(in)
	table.ReuseRecord = true
	header, err := table.Read()
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errUserLine, err)
	}
	set := make([]func(*userRecord, string) error, len(header))
	names := slices.Clone(header)
	for i, name := range names {
		name = strings.TrimSpace(name)
		to, mapped := columns[name]
		if !mapped {
			to = strings.ToLower(name)
		}
		if to == "" {
			continue
		}
		if set[i] = userColumns[to]; set[i] == nil {
			return nil, fmt.Errorf("%q: %w", name, errUserColumn)
		}
		names[i] = to
	}
	d.end = begun + table.InputOffset()
	return func() (u userRecord, line int, err error) {
		cells, err := table.Read()
		d.end = begun + table.InputOffset()
		if errors.Is(err, io.EOF) {
			return u, 0, err
		}
		if err != nil {
			broken, ok := errors.AsType[*csv.ParseError](err)
			if !ok {
				return u, 0, err
			}
			return u, broken.StartLine, fmt.Errorf("%w (%w)", errUserLine, broken.Err)
		}
		line, _ = table.FieldPos(0)
		for i, cell := range cells {
			if set[i] == nil {
				continue
			}
			if err := set[i](&u, strings.TrimSpace(cell)); err != nil {
				return u, line, &admit.FieldError{Field: names[i], Err: err}
			}
		}
		return u, line, nil
	}, nil
}

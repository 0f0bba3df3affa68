package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/keyring"
	"github.com/admit-auth/admit/server/internal/web"
)

// Why a master key cannot be had. What is wrong with its text, or with what it
// should open, package keyring says.
var (
	ErrMasterSources = admit.Invalid.New("master_key_twice", "A master key comes from one place only.").WithHint("leave one of --master-key-file, --master-key-command and ADMIT_MASTER_KEY; a file may hold several keys")
	ErrMasterFile    = admit.Unavailable.New("master_key_unreadable", "The file of the master key cannot be read.").WithHint("look at its name, and whether this user may read it")
	ErrMasterMode    = admit.Unavailable.New("master_key_exposed", "Others can read or change the file of the master key.").WithHint("chmod 600 it; to let a group read it, 640")
	ErrMasterCommand = admit.Unavailable.New("master_key_command_failed", "The command gives no master key.").WithHint("run it by hand: it has 30 seconds, and writes the key to standard output; no shell is between")
)

const (
	maxMasterKey   = 64 << 10 // bytes
	commandTime    = 30 * time.Second
	defaultKeyDays = 90

	// signedLife is the longest that a verifier may take a JWT of ours for good:
	// 5 minutes, and a minute of leeway.
	signedLife = 6 * time.Minute
	// publishedAhead is how long a signing key is public before it signs: a copy
	// of the set is as old as caches may have it, and its renewal may fail once.
	publishedAhead = web.KeySetAge + 30*time.Second
)

// keyEvery is how long a key makes new values, for each purpose.
func (c Config) keyEvery() time.Duration {
	days, err := strconv.Atoi(c.KeyRotation)
	if err != nil {
		days = defaultKeyDays
	}
	return time.Duration(days) * 24 * time.Hour
}

// masterSources counts the places that a master key is to come from.
func (c Config) masterSources() (n int) {
	for _, set := range []bool{c.MasterKeyFile != "", c.MasterKeyCommand != "", !c.MasterKey.IsZero()} {
		if set {
			n++
		}
	}
	return n
}

// masterKeys gets the master keys from where the configuration says, none where
// it says nothing.
func (c Config) masterKeys(ctx context.Context) (keys []*keyring.MasterKey, err error) {
	var text string
	switch {
	case !c.MasterKey.IsZero():
		keys, err = keyring.ParseMasterKeys(c.MasterKey.Reveal())
		if err != nil {
			err = fmt.Errorf("ADMIT_MASTER_KEY: %w", err)
		}
		return keys, err
	case c.MasterKeyFile != "":
		text, err = readMasterFile(c.MasterKeyFile)
	case c.MasterKeyCommand != "":
		text, err = runMasterCommand(ctx, c.MasterKeyCommand)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if keys, err = keyring.ParseMasterKeys(text); err != nil {
		return nil, fmt.Errorf("%s: %w", c.MasterKeyFile+c.MasterKeyCommand, err)
	}
	return keys, nil
}

// readMasterFile reads a file that nobody else may read, but a group: secrets
// that a container is given often have one.
func readMasterFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", name, ErrMasterFile, bare(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", name, ErrMasterFile, bare(err))
	}
	if mode := info.Mode().Perm(); mode&0o037 != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("%s: mode %04o: %w", name, mode, ErrMasterMode)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxMasterKey))
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", name, ErrMasterFile, bare(err))
	}
	return string(b), nil
}

// bare is an error of a file without its name.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// runMasterCommand runs a program that writes the master key, such as the client
// of a key management service. It gets our environment without what is ours, for
// that holds secrets, and speaks to the operator on standard error.
func runMasterCommand(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	words := strings.Fields(command)
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ADMIT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Stdout, cmd.Stderr = &limited{&out, maxMasterKey}, os.Stderr
	cmd.WaitDelay = time.Second // for children of it that hold the pipe
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("%s: %w: %w", words[0], ErrMasterCommand, err)
	}
	if strings.TrimSpace(out.String()) == "" {
		return "", fmt.Errorf("%s: %w: it wrote nothing", words[0], ErrMasterCommand)
	}
	return out.String(), nil
}

// limited refuses what is longer than any key.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, errors.New("it wrote too much")
	}
	return l.to.Write(b)
}

// keysFile returns the keys that an older version kept in a file, "" where there
// is none.
func keysFile(data string) (string, error) {
	file := filepath.Join(data, keysName)
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err == nil {
		_, err = cookie.ParseKeys(string(text))
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", file, ErrKeysFile, bare(err))
	}
	return string(text), nil
}

// openKeys opens the ring of keys in the database. Those of a file, which older
// versions kept, are taken over.
func (s *Server) openKeys(ctx context.Context, now time.Time) error {
	masters, err := s.cfg.masterKeys(ctx)
	if err != nil {
		return err
	}
	adopt := ""
	if s.cfg.Database == "" { // a folder that is one's own has no keys that others share
		if adopt, err = keysFile(s.cfg.Data); err != nil {
			return err
		}
	}
	if s.keys, err = keyring.Open(ctx, s.db, keyring.Options{
		Masters: masters, Life: web.SealedLife, Signed: signedLife, Ahead: publishedAhead, Every: s.cfg.keyEvery(), Adopt: adopt,
	}, now); err != nil || adopt == "" {
		return err
	}
	file := filepath.Join(s.cfg.Data, keysName)
	// They are on disk in the database. A copy left here would be one that no
	// master key seals, and that outlives its retirement.
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	s.log.Info("the keys of the file were taken over into the database", "file", file)
	return nil
}

// listKeys returns the keys as the API shows them.
func (s *Server) listKeys(ctx context.Context) ([]web.Key, error) {
	keys, err := s.keys.List(ctx, time.Now())
	shown := make([]web.Key, len(keys))
	for i, k := range keys {
		shown[i] = web.Key(k)
	}
	return shown, err
}

// A Key is one of the server's own keys, without its secret.
type Key = keyring.Key

// A KeyLoss is what cannot be opened without a key.
type KeyLoss = keyring.Loss

// Keys returns the server's own keys, those in use first.
func (o *Operator) Keys(ctx context.Context) ([]Key, error) {
	return ask[[]Key](ctx, o, "keys", none{})
}

// RotateKey puts another key in front of the active one of a purpose, such as "cookies"
// or "signing", and returns it.
func (o *Operator) RotateKey(ctx context.Context, purpose string) (Key, error) {
	return ask[Key](ctx, o, "rotate-key", keyPurpose{purpose})
}

// KeySet returns the JWK set that the server publishes: all that verifiers need
// to know, and nothing that signs.
func (o *Operator) KeySet(ctx context.Context) (json.RawMessage, error) {
	return ask[json.RawMessage](ctx, o, "key-set", none{})
}

// RetireKey erases a key, by force also one that is needed, and returns what is
// lost by it.
func (o *Operator) RetireKey(ctx context.Context, id string, force bool) (KeyLoss, error) {
	return ask[KeyLoss](ctx, o, "retire-key", keyTarget{id, force})
}

// A Reseal says how keys are to be sealed: by the master keys given, the first
// of which seals; by none; or, where it is zero, by those that the server's
// configuration names, which are read anew.
type Reseal struct {
	Masters  admit.Secret
	Unsealed bool
}

// ResealKeys seals the keys anew, and returns them.
func (o *Operator) ResealKeys(ctx context.Context, in Reseal) ([]Key, error) {
	return ask[[]Key](ctx, o, "reseal-keys", reseal{in.Masters.Reveal(), in.Unsealed})
}

// ResetKeys erases all keys of the configured data folder, on which no server
// may run, or of the configured database, and returns how many there were. It needs
// no master key.
func ResetKeys(ctx context.Context, cfg Config) (n int, err error) {
	s := &Server{cfg: cfg}
	defer func() { err = errors.Join(err, s.Close()) }()
	if cfg.Database == "" {
		if err := s.takeFolder(); err != nil {
			return 0, err
		}
	}
	if s.db, err = db.Open(ctx, cfg.database()); err != nil {
		return 0, err
	}
	return keyring.Reset(ctx, s.db, byOperator("").Actor, time.Now())
}

// What crosses the socket.
type (
	keyPurpose struct {
		Purpose string `json:"purpose"`
	}
	keyTarget struct {
		ID    string `json:"id"`
		Force bool   `json:"force,omitempty"`
	}
	reseal struct {
		Masters  string `json:"masters,omitempty"`
		Unsealed bool   `json:"unsealed,omitempty"`
	}
)

// keyOperations adds what is offered for keys.
func (s *Server) keyOperations(to map[string]operation) {
	to["keys"] = op(func(ctx context.Context, _ none) ([]Key, error) { return s.keys.List(ctx, time.Now()) })
	to["rotate-key"] = op(func(ctx context.Context, in keyPurpose) (Key, error) {
		return s.keys.Rotate(ctx, in.Purpose, byOperator("").Actor, time.Now())
	})
	to["key-set"] = op(func(ctx context.Context, _ none) (json.RawMessage, error) {
		set, err := s.keys.KeySet(ctx, "")
		if err != nil {
			return nil, err
		}
		return json.Marshal(set)
	})
	to["retire-key"] = op(func(ctx context.Context, in keyTarget) (KeyLoss, error) {
		return s.keys.Retire(ctx, in.ID, in.Force, byOperator("").Actor, time.Now())
	})
	to["reseal-keys"] = op(func(ctx context.Context, in reseal) ([]Key, error) {
		var masters []*keyring.MasterKey
		var err error
		switch {
		case in.Masters != "":
			masters, err = keyring.ParseMasterKeys(in.Masters)
		case !in.Unsealed:
			if masters, err = s.cfg.masterKeys(ctx); err == nil && masters == nil {
				err = keyring.ErrNoMaster
			}
		}
		if err == nil {
			err = s.keys.Reseal(ctx, masters, byOperator("").Actor, time.Now())
		}
		if err != nil {
			return nil, err
		}
		return s.keys.List(ctx, time.Now())
	})
}

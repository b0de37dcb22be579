package local

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// iterations of PBKDF2 in a new hash: a fifth of a second on the slowest Raspberry Pi. Each password is worked out once
// in the life of the process; who connects again costs one HMAC.
const iterations = 25000

// maxIterations bounds what a line of the users file may cost.
const maxIterations = 10_000_000

// Users is a users file: one "NAME:HASH" a line, made by `meshgate passwd`. Empty lines and those that begin with #
// are kept as they are. HASH is
//
//	$pbkdf2-sha256$i=ITERATIONS$SALT$KEY   base64 without padding; KEY is 32 bytes of PBKDF2-HMAC-SHA256
//	$7$ITERATIONS$SALT$KEY                 base64; as mosquitto_passwd writes it, PBKDF2-HMAC-SHA512
//
// Its methods may be called by many goroutines, except Set and Delete.
type Users struct {
	lines  []string
	hashes map[string]string

	key     [32]byte      // of the HMACs below, random
	working chan struct{} // bounds how many passwords are worked out at once
	mu      sync.Mutex
	known   map[string][]byte // name -> HMAC of hash and password that was right
}

// HashPassword returns the HASH of a password for a users file.
func HashPassword(password string) (string, error) {
	var salt [16]byte
	rand.Read(salt[:]) // never fails
	key, err := pbkdf2.Key(sha256.New, password, salt[:], iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$pbkdf2-sha256$i=%d$%s$%s", iterations, b64.EncodeToString(salt[:]), b64.EncodeToString(key)), nil
}

// LoadUsers reads a users file. Its errors name file and line.
func LoadUsers(file string) (*Users, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("local: users: %w", err)
	}
	u, err := ParseUsers(data)
	if err != nil {
		return nil, fmt.Errorf("local: %s:%w", file, err)
	}
	return u, nil
}

// ParseUsers reads the content of a users file; an error begins with its line.
func ParseUsers(data []byte) (*Users, error) {
	u := &Users{
		hashes:  map[string]string{},
		known:   map[string][]byte{},
		working: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	rand.Read(u.key[:])
	for i, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		line = strings.TrimRight(line, "\r")
		if name, hash, ok := userLine(line); ok {
			if err := checkUser(name, hash); err != nil {
				return nil, fmt.Errorf("%d: %w", i+1, err)
			}
			if _, twice := u.hashes[name]; twice {
				return nil, fmt.Errorf("%d: %s is here twice", i+1, name)
			}
			u.hashes[name] = hash
		}
		u.lines = append(u.lines, line)
	}
	return u, nil
}

// userLine splits a line; false for one that says nothing.
func userLine(line string) (name, hash string, ok bool) {
	if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
		return "", "", false
	}
	name, hash, _ = strings.Cut(line, ":")
	return name, hash, true
}

func checkUser(name, hash string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := parseHash(hash); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > 256 || strings.ContainsAny(name, ":\r\n\x00") || name[0] == '#' {
		return fmt.Errorf("%q is no user name", name)
	}
	return nil
}

// Names returns the names, sorted.
func (u *Users) Names() []string {
	names := make([]string, 0, len(u.hashes))
	for name := range u.hashes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Set gives a user a password.
func (u *Users) Set(name, password string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	if password == "" {
		return errors.New("local: an empty password")
	}
	hash, err := HashPassword(password)
	if err != nil {
		return err
	}
	if i := u.line(name); i >= 0 {
		u.lines[i] = name + ":" + hash
	} else {
		u.lines = append(u.lines, name+":"+hash)
	}
	u.hashes[name] = hash
	return nil
}

// Delete takes a user out; false if there is none of that name.
func (u *Users) Delete(name string) bool {
	i := u.line(name)
	if i < 0 {
		return false
	}
	u.lines = slices.Delete(u.lines, i, i+1)
	delete(u.hashes, name)
	return true
}

func (u *Users) line(name string) int {
	return slices.IndexFunc(u.lines, func(line string) bool {
		n, _, ok := userLine(line)
		return ok && n == name
	})
}

// Save writes the file anew, in one step, with the mode of the old one or else 0640. Who reads it must be able to:
// the owner of an old file is kept where the system allows it.
func (u *Users) Save(file string) error {
	var text bytes.Buffer
	for _, line := range u.lines {
		if line != "" || text.Len() > 0 {
			text.WriteString(line + "\n")
		}
	}
	if err := replaceFile(file, func(w io.Writer) error { _, err := text.WriteTo(w); return err }); err != nil {
		return fmt.Errorf("local: users: %w", err)
	}
	return nil
}

// replaceFile writes a file so that, whatever happens, either the old or the new content is there.
func replaceFile(file string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if old, err := os.Stat(file); err == nil {
		_ = f.Chmod(old.Mode().Perm())
		keepOwner(f, old)
	} else {
		_ = f.Chmod(0o640)
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// Verify reports whether that is the user's password. An unknown user takes as long as a wrong password.
func (u *Users) Verify(name, password string) bool {
	hash, exists := u.hashes[name]
	mac := hmac.New(sha256.New, u.key[:])
	fmt.Fprintf(mac, "%d:%s%s", len(hash), hash, password)
	sum := mac.Sum(nil)
	u.mu.Lock()
	right := exists && hmac.Equal(sum, u.known[name])
	u.mu.Unlock()
	if right {
		return true
	}
	u.working <- struct{}{}
	defer func() { <-u.working }()
	if !exists {
		_, _ = pbkdf2.Key(sha256.New, password, u.key[:16], iterations, sha256.Size)
		return false
	}
	h, err := parseHash(hash)
	if err != nil || !h.is(password) {
		return false
	}
	u.mu.Lock()
	u.known[name] = sum
	u.mu.Unlock()
	return true
}

// same reports whether a user has the same password in both files.
func (u *Users) same(other *Users, name string) bool {
	hash, ok := u.hashes[name]
	return ok && other.hashes[name] == hash
}

type passwordHash struct {
	hash       func() hash.Hash
	iterations int
	salt, key  []byte
}

func (h passwordHash) is(password string) bool {
	key, err := pbkdf2.Key(h.hash, password, h.salt, h.iterations, len(h.key))
	return err == nil && subtle.ConstantTimeCompare(key, h.key) == 1
}

func parseHash(s string) (h passwordHash, err error) {
	part := strings.Split(s, "$")
	if len(part) != 5 || part[0] != "" {
		return h, errors.New("no password hash; make one with `meshgate passwd`")
	}
	count, b64 := part[2], base64.StdEncoding
	switch part[1] {
	case "pbkdf2-sha256":
		h.hash, b64 = sha256.New, base64.RawStdEncoding
		count = strings.TrimPrefix(count, "i=")
	case "7":
		h.hash = sha512.New
	default:
		return h, fmt.Errorf("a password hash of an unknown kind %q", part[1])
	}
	if h.iterations, err = strconv.Atoi(count); err != nil || h.iterations < 1 || h.iterations > maxIterations {
		return h, errors.New("a password hash with an impossible count")
	}
	if h.salt, err = b64.DecodeString(part[3]); err != nil || len(h.salt) == 0 {
		return h, errors.New("a password hash with a damaged salt")
	}
	if h.key, err = b64.DecodeString(part[4]); err != nil || len(h.key) < 16 {
		return h, errors.New("a password hash with a damaged key")
	}
	return h, nil
}

package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash"
	"strconv"
	"sync"
	"time"
)

// header is {"alg":"HS256","typ":"JWT"}, as PyJWT writes it. The service, too, compares the header with known ones.
const header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"

const bearer = "Bearer "

type claims struct {
	Sub  string `json:"sub"`
	Role string `json:"role"`
	Exp  int64  `json:"exp"`
	Nbf  int64  `json:"nbf"`
}

// tokens verifies HS256 (RFC 7518, 3.2); keyed has HMACs with the key in them already.
type tokens struct {
	keyed sync.Pool
}

func newTokens(secret string) *tokens {
	return &tokens{sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(secret)) }}}
}

// subject is the uid of a valid token of a user.
func (t *tokens) subject(authorization []byte, now time.Time) (int64, bool) {
	token := bytes.TrimPrefix(authorization, []byte(bearer))
	dot := bytes.LastIndexByte(token, '.')
	if len(token) == len(authorization) || dot <= len(header) || string(token[:len(header)+1]) != header+"." {
		return 0, false
	}
	if !t.signed(token[:dot], token[dot+1:]) {
		return 0, false
	}
	payload := token[len(header)+1 : dot]
	decoded := make([]byte, base64.RawURLEncoding.DecodedLen(len(payload)))
	if _, err := base64.RawURLEncoding.Decode(decoded, payload); err != nil {
		return 0, false
	}
	var said claims
	if json.Unmarshal(decoded, &said) != nil || said.Role != "user" {
		return 0, false
	}
	uid, err := strconv.ParseInt(said.Sub, 10, 64)
	return uid, err == nil && uid > 0 && said.Exp > now.Unix() && said.Nbf <= now.Unix()+60
}

func (t *tokens) signed(message, signature []byte) bool {
	keyed := t.keyed.Get().(hash.Hash)
	keyed.Reset()
	keyed.Write(message)
	var sum [sha256.Size]byte
	var expected [43]byte // 32 bytes in base64
	base64.RawURLEncoding.Encode(expected[:], keyed.Sum(sum[:0]))
	t.keyed.Put(keyed)
	return hmac.Equal(signature, expected[:])
}

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"log"
	"net"
	"strconv"
	"time"
)

// waiting is one user whose word is not there yet.
type waiting struct {
	uid     int64
	arrived time.Time
	word    chan string // of one place, so that nobody waits for the reader of it
}

func tell(users []*waiting, word string) {
	for _, one := range users {
		one.word <- word
	}
}

// script is the check-in script on one connection, in Redis' protocol.
type script struct {
	conn    net.Conn
	replies *bufio.Reader
	opening []byte // EVALSHA with the script, the keys and the clock, which is Redis' own
	fixed   int    // arguments besides the users
	skewMs  int64
	capMs   int64
	words   map[string]string // one copy of each word that is known
}

func openScript(set *settings) (*script, error) {
	conn, err := net.DialTimeout("tcp", set.redis(), patience)
	if err != nil {
		return nil, err
	}
	s := &script{conn: conn, replies: bufio.NewReaderSize(conn, 1<<16), skewMs: int64(set.SkewMs), capMs: set.WaitCapMs}
	command := append([]string{"EVALSHA", set.Sha, strconv.Itoa(len(set.Keys))}, set.Keys...)
	for _, word := range append(command, "") {
		s.opening = appendBulk(s.opening, []byte(word))
	}
	s.fixed = len(command) + 4 // clock, expected_ms, skew_ms, rows
	s.words = map[string]string{}
	for word := range set.Answers {
		s.words[word] = word
	}
	login := appendBulk(appendBulk([]byte("*2\r\n"), []byte("AUTH")), []byte(set.Password))
	if err := s.write(login); err != nil {
		return nil, err
	}
	line, err := s.line()
	if err == nil && string(line) != "+OK" {
		err = fmt.Errorf("AUTH: %s", line)
	}
	return s, err
}

func appendBulk(to, word []byte) []byte {
	to = strconv.AppendInt(append(to, '$'), int64(len(word)), 10)
	return append(append(append(to, "\r\n"...), word...), "\r\n"...)
}

func appendNumber(to []byte, number int64) []byte {
	var digits [20]byte
	return appendBulk(to, strconv.AppendInt(digits[:0], number, 10))
}

// appendRows is the script's ROW: waited_ms of each user as a MessagePack array; capMs has 16 bits.
func appendRows(to []byte, users []*waiting, now time.Time, capMs int64) []byte {
	to = append(to, 0xdc, byte(len(users)>>8), byte(len(users)))
	for _, one := range users {
		waited := now.Sub(one.arrived).Milliseconds()
		if waited > capMs {
			waited = capMs
		}
		if waited < 128 {
			to = append(to, byte(waited))
		} else {
			to = append(to, 0xcd, byte(waited>>8), byte(waited))
		}
	}
	return to
}

// appendCall is one call for these users.
func (s *script) appendCall(to []byte, users []*waiting) []byte {
	now := time.Now()
	to = strconv.AppendInt(append(to, '*'), int64(s.fixed+len(users)), 10)
	to = append(append(to, "\r\n"...), s.opening...)
	to = appendNumber(appendNumber(to, now.UnixMilli()), s.skewMs)
	var room [1024]byte
	to = appendBulk(to, appendRows(room[:0], users, now, s.capMs))
	for _, one := range users {
		to = appendNumber(to, one.uid)
	}
	return to
}

func (s *script) write(commands []byte) error {
	s.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := s.conn.Write(commands)
	return err
}

// line is valid until the next read.
func (s *script) line() ([]byte, error) {
	if s.replies.Buffered() == 0 {
		s.conn.SetReadDeadline(time.Now().Add(patience))
	}
	line, err := s.replies.ReadSlice('\n')
	return bytes.TrimSuffix(line, []byte("\r\n")), err
}

// answer reads the reply of a call and tells its users. After an error the connection is of no use any more.
func (s *script) answer(users []*waiting) error {
	told, err := s.tellWords(users)
	tell(users[told:], "unavailable")
	return err
}

// tellWords reads [now_ms, word…], tells each user the word, and says how many were told.
func (s *script) tellWords(users []*waiting) (int, error) {
	line, err := s.line()
	if err != nil {
		return 0, err
	}
	if len(line) > 0 && line[0] == '-' {
		log.Printf("%s", line)
		return 0, nil
	}
	if string(line) != "*"+strconv.Itoa(len(users)+1) {
		return 0, fmt.Errorf("%d users were answered %q", len(users), line)
	}
	if _, err = s.line(); err != nil { // now_ms
		return 0, err
	}
	for told, one := range users {
		if line, err = s.line(); err != nil { // the word's length, or the rank of who has checked in now
			return told, err
		}
		if len(line) > 0 && line[0] == ':' {
			one.word <- "checked_in"
			continue
		}
		if line, err = s.line(); err != nil {
			return told, err
		}
		one.word <- s.words[string(line)]
	}
	return len(users), nil
}

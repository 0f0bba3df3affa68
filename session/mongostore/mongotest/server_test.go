package mongotest

import (
	"encoding/binary"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func FuzzMessages(f *testing.F) {
	doc, err := bson.Marshal(bson.D{{Key: "insert", Value: "c"}, {Key: "$db", Value: "d"}})
	if err != nil {
		f.Fatal(err)
	}
	sequence := append(binary.LittleEndian.AppendUint32(nil, uint32(4+len("documents\x00")+len(doc))), "documents\x00"...)
	message := append([]byte{0, 0, 0, 0, 0}, doc...)
	message = append(append(append(message, 1), sequence...), doc...)
	f.Add(int32(opMsg), message)
	f.Add(int32(opMsg), message[:len(message)-1])
	f.Add(int32(opMsg), []byte{1, 0, 0, 0, 0})
	f.Add(int32(opQuery), append([]byte("\x00\x00\x00\x00admin.$cmd\x00\x00\x00\x00\x00\xff\xff\xff\xff"), doc...))
	f.Add(int32(opQuery), []byte{})
	f.Fuzz(func(t *testing.T, code int32, b []byte) {
		command, _, err := parse(code, b)
		if err == nil && len(command) == 0 {
			t.Error("a message without a command was read")
		}
	})
}

# @TEST-DOC: Every byte value in a payload is in the record that is published.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer --records records.json -- -r $TRACES/bytes.pcap
# @TEST-EXEC: grep -o '"head": [^]]*]' records.json > output
# @TEST-EXEC: btest-diff output

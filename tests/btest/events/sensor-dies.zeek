# @TEST-DOC: A sensor that dies in the middle of a replay ends it, with an error.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer --window 20 --die-after 100 -- -r $REPOSITORY/samples/demo.pcap
# @TEST-EXEC: grep -o "the sensor of shard 0 has gone after sample" reporter.log > output
# @TEST-EXEC: btest-diff output

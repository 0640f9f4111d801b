##! Describes connections in words, for models that count terms: TLS handshakes and certificates,
##! DNS queries, types of files, weirds. :zeek:see:`MTC::Record` has them as *tokens*.
##!
##! Every word is a prefix, a colon, and a number, a hash or a name from a standard. Names that
##! users chose, such as that of a server, are described by their shape.
##!
##! It is not loaded with the rest of the package, because it has Zeek raise more events and no model
##! that we ship reads words. For models of your own that do::
##!
##!     @load mtc-sensor
##!     @load mtc-sensor/tls

@load base/frameworks/files
@load base/frameworks/notice/weird
@load base/protocols/dns
@load base/protocols/ssl
@load base/utils/strings

@load ./main
@load ./capture

module MTC;

export {
	## Whether tokens have the name that a TLS client asked for.
	option server_names: bool = F;

	## How many words of one connection are kept.
	option max_words: count = 256;

	redef record connection += {
		## What has been noticed of the connection, in words.
		mtc_words: vector of string &optional;
	};
}

# RFC 8701: values without a meaning, which clients choose at random.
function is_grease(value: count): bool
	{
	return value & 0x0f0f == 0x0a0a && value / 256 == value % 256;
	}

# Adds a word of graphic ASCII.
function add_plain(c: connection, word: string)
	{
	if ( ! c?$mtc_words )
		c$mtc_words = vector(word);
	else if ( |c$mtc_words| < max_words )
		c$mtc_words += word;
	}

# Adds a word of what others have chosen. The bus takes printable ASCII only, and a blank would make
# two words of one; to look whether it is so costs much less than to replace.
function add_word(c: connection, prefix: string, value: string)
	{
	add_plain(c, prefix + ":" + ( value == /[!-~]{1,128}/ ? value :
	    gsub(value, /[^!-~]/, "_")[:128] ));
	}

# The values that mean something, each a word; returns them in their order.
function add_numbers(c: connection, prefix: string, values: index_vec): vector of string
	{
	local texts: vector of string;

	if ( ! c?$mtc_words )
		c$mtc_words = vector();

	local words = c$mtc_words;
	local start = prefix + ":";

	for ( _, value in values )
		{
		if ( is_grease(value) )
			next;

		local text = fmt("%x", value);
		texts += text;

		if ( |words| < max_words )
			words += start + text;
		}

	return texts;
	}

# Of an order of values there is one word, and one of the values in any order.
function add_order(c: connection, prefix: string, texts: vector of string)
	{
	add_plain(c, prefix + "_order:" + md5_hash(join_string_vec(texts, "-")));
	add_plain(c, prefix + "_set:" + md5_hash(join_string_vec(sort(texts, strcmp), "-")));
	}

event ssl_client_hello(c: connection, version: count, record_version: count, possible_ts: time,
    client_random: string, session_id: string, ciphers: index_vec, comp_methods: index_vec)
	{
	add_plain(c, fmt("tls_client:%x", version));
	add_order(c, "ciphers", add_numbers(c, "cipher", ciphers));
	}

event ssl_server_hello(c: connection, version: count, record_version: count, possible_ts: time,
    server_random: string, session_id: string, cipher: count, comp_method: count)
	{
	add_plain(c, fmt("tls:%x", version));
	add_plain(c, fmt("chosen:%x", cipher));
	}

event ssl_extension(c: connection, is_client: bool, code: count, val: string)
	{
	if ( ! is_grease(code) )
		add_plain(c, fmt(is_client ? "ext:%d" : "server_ext:%d", code));
	}

event ssl_extension_elliptic_curves(c: connection, is_client: bool, curves: index_vec)
	{
	if ( is_client )
		add_order(c, "groups", add_numbers(c, "group", curves));
	}

event ssl_extension_application_layer_protocol_negotiation(c: connection, is_client: bool,
    protocols: string_vec)
	{
	for ( _, name in protocols )
		add_word(c, is_client ? "alpn" : "chosen_alpn", name);
	}

event ssl_extension_server_name(c: connection, is_client: bool, names: string_vec)
	{
	if ( ! is_client || |names| == 0 )
		return;

	local name = names[0];
	add_plain(c, fmt("sni_length:%d", |name| / 8 * 8));
	add_plain(c, fmt("sni_labels:%d", |split_string(name, /\./)|));
	add_plain(c, fmt("sni_entropy:%.0f", find_entropy(name)$entropy * 2.0));

	if ( server_names )
		add_word(c, "sni", name);
	}

event dns_request(c: connection, msg: dns_msg, query: string, qtype: count, qclass: count)
	{
	add_plain(c, fmt("dns_query:%d", qtype));
	}

event dns_message(c: connection, is_orig: bool, msg: dns_msg, len: count)
	{
	if ( ! msg$QR )
		return;

	add_plain(c, fmt("dns_rcode:%d", msg$rcode));
	add_plain(c, fmt("dns_answers:%d", msg$num_answers));
	}

event conn_weird(name: string, c: connection, addl: string)
	{
	add_word(c, "weird", name);
	}

event file_sniff(f: fa_file, meta: fa_metadata)
	{
	if ( ! meta?$mime_type || ! f?$conns )
		return;

	for ( _, c in f$conns )
		add_word(c, "file", meta$mime_type);
	}

function certificate_words(chain: vector of Files::Info): vector of string
	{
	local words = vector(fmt("chain:%d", |chain|));

	if ( |chain| == 0 || ! chain[0]?$x509 )
		return words;

	local info = chain[0]$x509;
	local cert = info$certificate;
	local days = ( cert$not_valid_after - cert$not_valid_before ) / 1day;
	words += fmt("cert_days:%.0f", days);
	words += cert$subject == cert$issuer ? "cert:self_signed" : "cert:issued";
	words += fmt("cert_key:%s_%s", cert?$key_type ? cert$key_type : "unknown",
	    cert?$key_length ? cat(cert$key_length) : "unknown");

	if ( info?$san && info$san?$dns )
		words += fmt("cert_names:%d", |info$san$dns|);

	return words;
	}

# What every document begins with.
const beginnings: table[transport_proto] of string = {
	[icmp] = " transport:icmp port:",
	[tcp] = " transport:tcp port:",
	[udp] = " transport:udp port:",
};

function beginning(r: Record): string
	{
	local number = port_to_count(r$resp_p);
	local family = is_v4_addr(r$orig_h) ? "ip:4" : "ip:6";
	return family + beginnings[get_port_transport_proto(r$resp_p)] +
	    ( number < 1024 ? cat(number) : number < 49152 ? "registered" : "dynamic" );
	}

hook sampled(c: connection, r: Record)
	{
	local text = beginning(r);

	for ( service in c$service )
		text += " service:" + to_lower(gsub(service, /[^!-~]/, "_"));

	if ( c?$mtc_words && |c$mtc_words| > 0 )
		text += " " + join_string_vec(c$mtc_words, " ");

	if ( c?$ssl && c$ssl?$cert_chain )
		text += " " + join_string_vec(certificate_words(c$ssl$cert_chain), " ");

	r$tokens = text;
	}

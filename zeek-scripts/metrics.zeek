##! What has been counted, through Zeek's Telemetry framework.

@load base/frameworks/telemetry

@load ./main
@load ./capture
@load ./publish
@load ./verdict

module MTC;

global samples_metric = Telemetry::register_counter_family([$prefix="zeek", $unit="",
    $name="mtc_samples", $label_names=vector("shard"), $help_text="Records that were published"]);
global shed_metric = Telemetry::register_counter_family([$prefix="zeek", $unit="",
    $name="mtc_shed", $label_names=vector("shard"), $help_text="Records that found no room"]);
global lost_metric = Telemetry::register_counter_family([$prefix="zeek", $unit="",
    $name="mtc_lost", $label_names=vector("shard"),
    $help_text="Records that were published when no sensor took them"]);
global inflight_metric = Telemetry::register_gauge_family([$prefix="zeek", $unit="",
    $name="mtc_inflight", $label_names=vector("shard"),
    $help_text="Records that are published and not settled"]);
global refused_metric = Telemetry::register_counter_family([$prefix="zeek", $unit="",
    $name="mtc_refused_events", $help_text="Events from the bus that made no sense"]);

global unsampled_metric = Telemetry::register_counter_family([$prefix="zeek", $unit="",
    $name="mtc_unsampled_connections", $help_text="Connections that there was no room for"]);

global stale_metric = Telemetry::register_counter_family([$prefix="zeek", $unit="",
    $name="mtc_stale_verdicts",
    $help_text="Verdicts on records that are no longer known or had one from the model"]);

hook Telemetry::sync()
	{
	for ( _, st in streams )
		{
		local labels = vector(cat(st$shard));
		Telemetry::counter_family_set(samples_metric, labels, st$highest);
		Telemetry::counter_family_set(shed_metric, labels, st$shed);
		Telemetry::counter_family_set(lost_metric, labels, st$lost);
		Telemetry::gauge_family_set(inflight_metric, labels, st$sent - st$acked);
		}

	Telemetry::counter_family_set(refused_metric, vector(), refused);
	Telemetry::counter_family_set(unsampled_metric, vector(), unsampled_connections);
	Telemetry::counter_family_set(stale_metric, vector(), stale_verdicts);
	}

# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_redstart_global_optspecs
    string join \n v/version check-system bind= port= metrics-port= metrics-tls= unixsocket= unixsocketperm= tcp-backlog= timeout= tcp-keepalive= protected-mode= maxclients= requirepass= bind-source-addr= socket-mark-id= daemonize= pidfile= dir= loglevel= logfile= crash-log-enabled= use-exit-on-panic= always-show-logo= syslog-enabled= syslog-ident= syslog-facility= supervised= set-proc-title= proc-title-template= disable-thp= huge-pages= oom-score-adj= oom-score-adj-values= server-cpulist= bio-cpulist= aof-rewrite-cpulist= bgsave-cpulist= shutdown-timeout= shutdown-on-sigint= shutdown-on-sigterm= enable-protected-configs= enable-debug-command= aclfile= acllog-max-len= acl-pubsub-default= databases= hz= dynamic-hz= activerehashing= active-expire-effort= io-threads= io-threads-always-active= client-output-buffer-limit= client-query-buffer-limit= proto-max-bulk-len= busy-reply-threshold= tracking-table-max-keys= notify-keyspace-events= latency-tracking= latency-tracking-info-percentiles= latency-monitor-threshold= slowlog-log-slower-than= slowlog-max-len= maxmemory= maxmemory-policy= maxmemory-samples= maxmemory-eviction-tenacity= maxmemory-clients= lfu-log-factor= lfu-decay-time= lazyfree-lazy-eviction= lazyfree-lazy-expire= lazyfree-lazy-server-del= lazyfree-lazy-user-del= lazyfree-lazy-user-flush= activedefrag= active-defrag-ignore-bytes= active-defrag-threshold-lower= active-defrag-threshold-upper= active-defrag-cycle-min= active-defrag-cycle-max= active-defrag-max-scan-fields= list-max-listpack-size= list-compress-depth= hash-max-listpack-entries= hash-max-listpack-value= set-max-intset-entries= set-max-listpack-entries= set-max-listpack-value= zset-max-listpack-entries= zset-max-listpack-value= stream-node-max-bytes= stream-node-max-entries= hll-sparse-max-bytes= save= dbfilename= rdbcompression= rdb-write-version= rdbchecksum= rdb-del-sync-files= rdb-save-incremental-fsync= stop-writes-on-bgsave-error= rdb-key-save-delay= appendonly= appendfilename= appenddirname= appendfsync= no-appendfsync-on-rewrite= auto-aof-rewrite-percentage= auto-aof-rewrite-min-size= aof-load-truncated= aof-use-rdb-preamble= aof-timestamp-enabled= aof-rewrite-incremental-fsync= aof-disable-auto-gc= replicaof= masteruser= masterauth= replica-serve-stale-data= replica-read-only= replica-ignore-maxmemory= replica-lazy-flush= replica-priority= replica-announced= replica-announce-ip= replica-announce-port= replica-ignore-disk-write-errors= propagation-error-behavior= min-replicas-to-write= min-replicas-max-lag= min-replicas-to-ack= min-replicas-ack-timeout= repl-timeout= repl-ping-replica-period= repl-backlog-size= repl-backlog-ttl= repl-disable-tcp-nodelay= repl-diskless-sync= repl-diskless-sync-delay= repl-diskless-sync-max-replicas= repl-diskless-load= cluster-enabled= cluster-databases= cluster-config-file= cluster-port= cluster-node-timeout= cluster-ping-interval= cluster-replica-validity-factor= cluster-replica-no-failover= cluster-migration-barrier= cluster-allow-replica-migration= cluster-require-full-coverage= cluster-allow-reads-when-down= cluster-allow-pubsubshard-when-down= cluster-link-sendbuf-limit= cluster-announce-ip= cluster-announce-port= cluster-announce-tls-port= cluster-announce-bus-port= cluster-announce-hostname= cluster-announce-human-nodename= cluster-preferred-endpoint-type= tls-port= tls-cert-file= tls-key-file= tls-key-file-pass= tls-client-cert-file= tls-client-key-file= tls-client-key-file-pass= tls-ca-cert-file= tls-ca-cert-dir= tls-protocols= tls-ciphers= tls-ciphersuites= tls-prefer-server-ciphers= tls-session-caching= tls-session-cache-size= tls-session-cache-timeout= tls-auth-clients= tls-replication= tls-cluster= h/help
end

function __fish_redstart_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_redstart_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_redstart_using_subcommand
    set -l cmd (__fish_redstart_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c redstart -n "__fish_redstart_needs_command" -l bind -d 'up to 16 addresses' -r
complete -c redstart -n "__fish_redstart_needs_command" -l port -d '0 to 65535' -r
complete -c redstart -n "__fish_redstart_needs_command" -l metrics-port -d '0 to 65535' -r
complete -c redstart -n "__fish_redstart_needs_command" -l metrics-tls -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l unixsocket -d 'text' -r -F
complete -c redstart -n "__fish_redstart_needs_command" -l unixsocketperm -d 'octal, 0 to 777' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tcp-backlog -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l timeout -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tcp-keepalive -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l protected-mode -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l maxclients -d '1 to 2^32-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l requirepass -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l bind-source-addr -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l socket-mark-id -d '0 to 2^32-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l daemonize -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l pidfile -d 'text' -r -F
complete -c redstart -n "__fish_redstart_needs_command" -l dir -d 'directory' -r -F
complete -c redstart -n "__fish_redstart_needs_command" -l loglevel -d 'debug, verbose, notice, warning, nothing' -r -f -a "debug\t''
verbose\t''
notice\t''
warning\t''
nothing\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l logfile -d 'text' -r -F
complete -c redstart -n "__fish_redstart_needs_command" -l crash-log-enabled -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l use-exit-on-panic -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l always-show-logo -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l syslog-enabled -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l syslog-ident -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l syslog-facility -d 'user, local0, local1, local2, local3, local4, local5, local6, local7' -r -f -a "user\t''
local0\t''
local1\t''
local2\t''
local3\t''
local4\t''
local5\t''
local6\t''
local7\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l supervised -d 'upstart, systemd, auto, no' -r -f -a "upstart\t''
systemd\t''
auto\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l set-proc-title -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l proc-title-template -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l disable-thp -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l huge-pages -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l oom-score-adj -d 'no, yes, relative, absolute' -r -f -a "no\t''
yes\t''
relative\t''
absolute\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l oom-score-adj-values -d 'three numbers, -2000 to 2000' -r
complete -c redstart -n "__fish_redstart_needs_command" -l server-cpulist -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l bio-cpulist -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l aof-rewrite-cpulist -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l bgsave-cpulist -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l shutdown-timeout -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l shutdown-on-sigint -d 'default, or some of save, nosave, now, force' -r
complete -c redstart -n "__fish_redstart_needs_command" -l shutdown-on-sigterm -d 'default, or some of save, nosave, now, force' -r
complete -c redstart -n "__fish_redstart_needs_command" -l enable-protected-configs -d 'no, yes, local' -r -f -a "no\t''
yes\t''
local\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l enable-debug-command -d 'no, yes, local' -r -f -a "no\t''
yes\t''
local\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l aclfile -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l acllog-max-len -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l acl-pubsub-default -d 'allchannels, resetchannels' -r -f -a "allchannels\t''
resetchannels\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l databases -d '1 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l hz -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l dynamic-hz -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l activerehashing -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l active-expire-effort -d '1 to 10' -r
complete -c redstart -n "__fish_redstart_needs_command" -l io-threads -d '1 to 128' -r
complete -c redstart -n "__fish_redstart_needs_command" -l io-threads-always-active -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l client-output-buffer-limit -d 'class, hard size, soft size, soft seconds; class is normal, replica or pubsub' -r
complete -c redstart -n "__fish_redstart_needs_command" -l client-query-buffer-limit -d 'size, 1mb to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l proto-max-bulk-len -d 'size, 1mb to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l busy-reply-threshold -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tracking-table-max-keys -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l notify-keyspace-events -d 'letters of `Ag$lshzxeKEtmdn`, or ""' -r
complete -c redstart -n "__fish_redstart_needs_command" -l latency-tracking -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l latency-tracking-info-percentiles -d 'numbers from 0 to 100, or ""' -r
complete -c redstart -n "__fish_redstart_needs_command" -l latency-monitor-threshold -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l slowlog-log-slower-than -d '-1 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l slowlog-max-len -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l maxmemory -d 'size, 0 to 2^64-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l maxmemory-policy -d 'volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction' -r -f -a "volatile-lru\t''
volatile-lfu\t''
volatile-random\t''
volatile-ttl\t''
allkeys-lru\t''
allkeys-lfu\t''
allkeys-random\t''
noeviction\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l maxmemory-samples -d '1 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l maxmemory-eviction-tenacity -d '0 to 100' -r
complete -c redstart -n "__fish_redstart_needs_command" -l maxmemory-clients -d 'size or percent' -r
complete -c redstart -n "__fish_redstart_needs_command" -l lfu-log-factor -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l lfu-decay-time -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l lazyfree-lazy-eviction -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l lazyfree-lazy-expire -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l lazyfree-lazy-server-del -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l lazyfree-lazy-user-del -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l lazyfree-lazy-user-flush -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l activedefrag -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l active-defrag-ignore-bytes -d 'size, 1 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l active-defrag-threshold-lower -d '0 to 1000' -r
complete -c redstart -n "__fish_redstart_needs_command" -l active-defrag-threshold-upper -d '0 to 1000' -r
complete -c redstart -n "__fish_redstart_needs_command" -l active-defrag-cycle-min -d '1 to 99' -r
complete -c redstart -n "__fish_redstart_needs_command" -l active-defrag-cycle-max -d '1 to 99' -r
complete -c redstart -n "__fish_redstart_needs_command" -l active-defrag-max-scan-fields -d '1 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l list-max-listpack-size -d '-2^31 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l list-compress-depth -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l hash-max-listpack-entries -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l hash-max-listpack-value -d 'size, 0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l set-max-intset-entries -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l set-max-listpack-entries -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l set-max-listpack-value -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l zset-max-listpack-entries -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l zset-max-listpack-value -d 'size, 0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l stream-node-max-bytes -d 'size, 0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l stream-node-max-entries -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l hll-sparse-max-bytes -d 'size, 0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l save -d 'pairs of seconds and changes, or ""' -r
complete -c redstart -n "__fish_redstart_needs_command" -l dbfilename -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l rdbcompression -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l rdb-write-version -d '10 to 11' -r
complete -c redstart -n "__fish_redstart_needs_command" -l rdbchecksum -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l rdb-del-sync-files -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l rdb-save-incremental-fsync -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l stop-writes-on-bgsave-error -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l rdb-key-save-delay -d '-2^31 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l appendonly -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l appendfilename -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l appenddirname -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l appendfsync -d 'everysec, always, no' -r -f -a "everysec\t''
always\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l no-appendfsync-on-rewrite -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l auto-aof-rewrite-percentage -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l auto-aof-rewrite-min-size -d 'size, 0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l aof-load-truncated -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l aof-use-rdb-preamble -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l aof-timestamp-enabled -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l aof-rewrite-incremental-fsync -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l aof-disable-auto-gc -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l replicaof -d 'host and port, or no one' -r
complete -c redstart -n "__fish_redstart_needs_command" -l masteruser -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l masterauth -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l replica-serve-stale-data -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l replica-read-only -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l replica-ignore-maxmemory -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l replica-lazy-flush -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l replica-priority -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l replica-announced -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l replica-announce-ip -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l replica-announce-port -d '0 to 65535' -r
complete -c redstart -n "__fish_redstart_needs_command" -l replica-ignore-disk-write-errors -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l propagation-error-behavior -d 'ignore, panic, panic-on-replicas' -r -f -a "ignore\t''
panic\t''
panic-on-replicas\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l min-replicas-to-write -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l min-replicas-max-lag -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l min-replicas-to-ack -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l min-replicas-ack-timeout -d '1 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l repl-timeout -d '1 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l repl-ping-replica-period -d '1 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l repl-backlog-size -d 'size, 1 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l repl-backlog-ttl -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l repl-disable-tcp-nodelay -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l repl-diskless-sync -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l repl-diskless-sync-delay -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l repl-diskless-sync-max-replicas -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l repl-diskless-load -d 'disabled, on-empty-db, swapdb' -r -f -a "disabled\t''
on-empty-db\t''
swapdb\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-enabled -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-databases -d '1 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-config-file -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-port -d '0 to 65535' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-node-timeout -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-ping-interval -d '0 to 2^63-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-replica-validity-factor -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-replica-no-failover -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-migration-barrier -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-allow-replica-migration -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-require-full-coverage -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-allow-reads-when-down -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-allow-pubsubshard-when-down -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-link-sendbuf-limit -d 'size, 0 to 2^64-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-announce-ip -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-announce-port -d '0 to 65535' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-announce-tls-port -d '0 to 65535' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-announce-bus-port -d '0 to 65535' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-announce-hostname -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-announce-human-nodename -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l cluster-preferred-endpoint-type -d 'ip, hostname, unknown-endpoint' -r -f -a "ip\t''
hostname\t''
unknown-endpoint\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l tls-port -d '0 to 65535' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-cert-file -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-key-file -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-key-file-pass -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-client-cert-file -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-client-key-file -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-client-key-file-pass -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-ca-cert-file -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-ca-cert-dir -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-protocols -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-ciphers -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-ciphersuites -d 'text' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-prefer-server-ciphers -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l tls-session-caching -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l tls-session-cache-size -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-session-cache-timeout -d '0 to 2^31-1' -r
complete -c redstart -n "__fish_redstart_needs_command" -l tls-auth-clients -d 'no, yes, optional' -r -f -a "no\t''
yes\t''
optional\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l tls-replication -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -l tls-cluster -d 'yes, no' -r -f -a "yes\t''
no\t''"
complete -c redstart -n "__fish_redstart_needs_command" -s v -l version -d 'Print the version and exit'
complete -c redstart -n "__fish_redstart_needs_command" -l check-system -d 'Check whether the system suits the configuration, and explain how to fix problems'
complete -c redstart -n "__fish_redstart_needs_command" -s h -l help -d 'Print help'
complete -c redstart -n "__fish_redstart_needs_command" -a "cli" -d 'Talk to a server: at a prompt, or one command at a time'
complete -c redstart -n "__fish_redstart_needs_command" -a "benchmark" -d 'Measure a Redis-compatible server: throughput and latency of its commands'
complete -c redstart -n "__fish_redstart_needs_command" -a "cluster" -d 'Start and stop a cluster on this machine, for trying things out'
complete -c redstart -n "__fish_redstart_needs_command" -a "top" -d 'Show a server\'s activity live'
complete -c redstart -n "__fish_redstart_needs_command" -a "check-aof" -d 'Check the files of a log and cut off an invalid end'
complete -c redstart -n "__fish_redstart_needs_command" -a "check-rdb" -d 'Check an RDB file and report its contents'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s h -d 'Host of the server [default: 127.0.0.1]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s p -d 'Port of the server [default: 6379]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s s -d 'Socket of the server, instead of host and port' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s u -d 'redis://user:password@host:port/database as a whole, or rediss:// for TLS' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s a -l pass -d 'Password; a variable REDISCLI_AUTH in the environment is safer' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l user -d 'User to authenticate as; needs a password' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s n -d 'Number of the database' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l sni -d 'Host name to send to the server, as SNI' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cacert -d 'PEM file of the trusted CAs' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cacertdir -d 'Directory of the trusted CAs; without a file or directory, those of the system' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cert -d 'Certificate to present to the server' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l key -d 'Private key of the certificate' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l tls-ciphers -d 'Cipher suites of TLS 1.2 to offer, by their OpenSSL names' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l tls-ciphersuites -d 'Cipher suites of TLS 1.3 to offer' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s r -d 'Send the command this many times; -1 means forever' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s i -d 'Seconds between repetitions, such as 0.1; also for the modes below' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s X -d 'Replace the argument TAG by standard input' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s d -d 'Delimiter between the elements of a raw reply [default: a line end]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s D -d 'Delimiter after a raw reply [default: a line end]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l show-pushes -d 'Print RESP3 push messages [default: if the output is a terminal]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l eval -d 'Run the script in FILE; the arguments are its keys, a comma, and its arguments' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l rdb -d 'Save a snapshot of the server\'s data in a file; - is the standard output' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l functions-rdb -d 'Like --rdb, with functions only' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l memkeys-samples -d 'Like --memkeys, looking at N elements of each key' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l lru-test -d 'Simulate a cache in which most requests are for few keys' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l intrinsic-latency -d 'Measure how long this machine keeps a busy process waiting' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l pattern -d 'Select keys by pattern, for --scan, --bigkeys, --memkeys and --hotkeys' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l quoted-pattern -d 'Like --pattern, but quoted, so that it can contain any bytes' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l count -d 'Approximate number of keys that each SCAN examines [default: 10]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l type -d 'Only keys of a type, for --scan' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l pipe-timeout -d 'Seconds that --pipe waits for replies after sending everything [default: 30; 0 means forever]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster -d 'Manage a cluster; --cluster help lists the commands' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-replicas -d 'create: replicas per master [default: 0]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-from -d 'reshard: the nodes that give slots, or all. import: host:port' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-to -d 'reshard: the node that receives slots' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-slots -d 'reshard: the number of slots to move' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-timeout -d 'Timeout of MIGRATE [default: 60000]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-pipeline -d 'Keys per MIGRATE [default: 10]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-weight -d 'rebalance: weights of nodes [default: 1]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-threshold -d 'rebalance: move slots from this imbalance on [default: 2]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-master-id -d 'add-node: of this master; the default has the fewest replicas' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-from-user -d 'import: the user of the source' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-from-pass -d 'import: that user\'s password' -r
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l tls -d 'Encrypt the connection'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l insecure -d 'Accept any server certificate'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l askpass -d 'Ask for the password at the terminal, instead of -a and REDISCLI_AUTH'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l no-auth-warning -d 'Do not warn about a password on the command line'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s 2 -l resp2 -d 'Use RESP2, even with --json'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s 3 -l resp3 -d 'Speak RESP3'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s x -d 'Read the last argument from the standard input'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s c -d 'Follow the redirections of a cluster (MOVED and ASK)'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s e -d 'Exit with status 1 if the server returns an error'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l raw -d 'Print the bytes of replies unchanged [default unless the output is a terminal]'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l no-raw -d 'Print replies for people, even to a pipe'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l csv -d 'Print replies as CSV'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l json -d 'Print replies as JSON; uses RESP3 if the server supports it'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l quoted-json -d 'The same in ASCII, with other bytes as \\xHH'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l quoted-input -d 'Unquote arguments that begin with a quote'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l ldb -d 'Debug the script of --eval step by step; its writes are discarded'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l ldb-sync-mode -d 'Like --ldb, but its writes are kept, and other clients have to wait'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l verbose -d 'Report changes of the connection'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l latency -d 'Measure the latency of PING'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l latency-history -d 'Like --latency, with a new line every 15 seconds or -i'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l latency-dist -d 'Show latencies as a spectrum of colours, one line per second or per -i'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l replica -d 'Show the commands that the server sends to its replicas'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l pipe -d 'Send standard input to the server unchanged, and count replies and errors'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l bigkeys -d 'Look for keys with many elements'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l memkeys -d 'Look for keys that take much memory'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l hotkeys -d 'Look for keys that are used often; needs an LFU policy'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l stat -d 'Print figures of the server every second or -i'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l scan -d 'List the keys'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-yes -d 'Do not ask for confirmation; also with REDISCLI_CLUSTER_YES=1'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-replace -d 'Replace keys that the target has with another value'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-copy -d 'import: leave the keys on the source'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-use-empty-masters -d 'rebalance: also give slots to masters without slots'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-simulate -d 'rebalance: show the moves only'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-slave -l cluster-replica -d 'add-node: as a replica'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-only-masters -d 'call: only masters'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-only-replicas -d 'call: only replicas'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-search-multiple-owners -d 'check, fix: also look for slots with keys on several masters'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-fix-with-unreachable-masters -d 'fix: also give away slots of unreachable masters'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l cluster-from-askpass -d 'import: ask for that password at the terminal'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -s ? -l help -d 'Print this help'
complete -c redstart -n "__fish_redstart_using_subcommand cli" -l version -d 'Print the version'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s h -d 'Host of the server [default: 127.0.0.1]' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s p -d 'Port of the server [default: 6379]' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s s -d 'Socket of the server, instead of host and port' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s u -d 'redis://user:password@host:port/database as a whole, or rediss:// for TLS' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s a -l pass -d 'Password; a variable REDISCLI_AUTH in the environment is safer' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l user -d 'User to authenticate as; needs a password' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l dbnum -d 'Number of the database' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l sni -d 'Host name to send to the server, as SNI' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l cacert -d 'PEM file of the trusted CAs' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l cacertdir -d 'Directory of the trusted CAs; without a file or directory, those of the system' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l cert -d 'Certificate to present to the server' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l key -d 'Private key of the certificate' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l tls-ciphers -d 'Cipher suites of TLS 1.2 to offer, by their OpenSSL names' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l tls-ciphersuites -d 'Cipher suites of TLS 1.3 to offer' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s c -d 'Connections [default: 50]' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s n -d 'Requests of each test [default: 100000]' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l duration -d 'Send for this many seconds instead of a number of requests' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s d -d 'Size of values [default: 3]' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s r -d 'Random numbers from 0 to KEYS - 1 for keys, members and __rand_int__' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s P -d 'Send this many requests before reading their replies [default: 1]' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s t -d 'Run only these tests (comma-separated)' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s k -d '1 keeps connections, 0 makes a new one for each batch [default: 1]' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l threads -d 'Number of threads' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l rate -d 'Open loop: this many requests per second, however slow the server; latency counts from each request\'s due time' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l rounds -d 'Run each test this many times and show the median [default: 1, or 3 with --compare]' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l compare -d 'Run each test against this server, too, in turn; may be repeated' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l seed -d 'Seed of random numbers: the same seed gives the same requests' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l html -d 'Write the report as a page' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l precision -d 'Decimals of milliseconds [default: 3]' -r
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l tls -d 'Encrypt the connection'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l insecure -d 'Accept any server certificate'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l poisson -d 'Open loop at random distances, as from independent users, instead of even ones'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s 3 -d 'Speak RESP3'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l enable-tracking -d 'Send CLIENT TRACKING on first'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s x -d 'Read the last argument of the command from the standard input'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s I -d 'Open the connections and leave them alone until Ctrl-C'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l cluster -d ''
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s q -d 'Print a line for each test'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l csv -d 'Print comma-separated values'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l json -d 'Print one JSON document at the end'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s l -d 'Repeat the tests until Ctrl-C'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s e -d 'Stop at the server\'s first error instead of counting errors'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -l help -d 'Print this help'
complete -c redstart -n "__fish_redstart_using_subcommand benchmark" -s v -l version -d 'Print the version'
complete -c redstart -n "__fish_redstart_using_subcommand cluster" -l dir -d 'Directory of the nodes\' files' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand cluster" -l masters -d 'start: the number of masters [default: 3]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cluster" -l replicas -d 'start: the number of replicas of each master [default: 1]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cluster" -l port -d 'start: the port of the first node; the others follow, and each bus port is 10000 above [default: 7000]' -r
complete -c redstart -n "__fish_redstart_using_subcommand cluster" -l server -d 'start: the server to run, such as redis-server [default: this program]' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand cluster" -s h -l help -d 'Print help'
complete -c redstart -n "__fish_redstart_using_subcommand top" -s h -d 'Host of the server [default: 127.0.0.1]' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -s p -d 'Port of the server [default: 6379]' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -s s -d 'Socket of the server, instead of host and port' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand top" -s u -d 'redis://user:password@host:port/database as a whole, or rediss:// for TLS' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -s a -l pass -d 'Password; a variable REDISCLI_AUTH in the environment is safer' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -l user -d 'User to authenticate as; needs a password' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -s n -d 'Number of the database' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -l sni -d 'Host name to send to the server, as SNI' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -l cacert -d 'PEM file of the trusted CAs' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand top" -l cacertdir -d 'Directory of the trusted CAs; without a file or directory, those of the system' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand top" -l cert -d 'Certificate to present to the server' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand top" -l key -d 'Private key of the certificate' -r -F
complete -c redstart -n "__fish_redstart_using_subcommand top" -l tls-ciphers -d 'Cipher suites of TLS 1.2 to offer, by their OpenSSL names' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -l tls-ciphersuites -d 'Cipher suites of TLS 1.3 to offer' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -s i -l interval -d 'Seconds between two samples' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -l count -d 'Exit after this many intervals' -r
complete -c redstart -n "__fish_redstart_using_subcommand top" -l tls -d 'Encrypt the connection'
complete -c redstart -n "__fish_redstart_using_subcommand top" -l insecure -d 'Accept any server certificate'
complete -c redstart -n "__fish_redstart_using_subcommand top" -l once -d 'Print one line for one interval and exit'
complete -c redstart -n "__fish_redstart_using_subcommand top" -l plain -d 'Print lines, even on a terminal'
complete -c redstart -n "__fish_redstart_using_subcommand top" -l json -d 'Print one JSON object per line'
complete -c redstart -n "__fish_redstart_using_subcommand top" -l ascii -d 'Draw with ASCII only, as in a locale without UTF-8'
complete -c redstart -n "__fish_redstart_using_subcommand top" -l help -d 'Print this help'
complete -c redstart -n "__fish_redstart_using_subcommand check-aof" -l truncate-to-timestamp -d 'Cut off commands written after this Unix time (seconds), according to the timestamp annotations' -r
complete -c redstart -n "__fish_redstart_using_subcommand check-aof" -l fix -d 'Truncate the log before the first error'
complete -c redstart -n "__fish_redstart_using_subcommand check-aof" -s h -l help -d 'Print help'
complete -c redstart -n "__fish_redstart_using_subcommand check-rdb" -s h -l help -d 'Print help'

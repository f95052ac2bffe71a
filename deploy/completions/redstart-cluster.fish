complete -c redstart-cluster -l dir -d 'Directory of the nodes\' files' -r -F
complete -c redstart-cluster -l masters -d 'start: the number of masters [default: 3]' -r
complete -c redstart-cluster -l replicas -d 'start: the number of replicas of each master [default: 1]' -r
complete -c redstart-cluster -l port -d 'start: the port of the first node; the others follow, and each bus port is 10000 above [default: 7000]' -r
complete -c redstart-cluster -l server -d 'start: the server to run, such as redis-server [default: this program]' -r -F
complete -c redstart-cluster -s h -l help -d 'Print help'

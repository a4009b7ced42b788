# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report says in Portuguese beside the English, by the names of the checks."""

from __future__ import annotations

import re
import typing as t


class Words(t.NamedTuple):
    """What must hold, and what to do when it does not."""

    title: str
    next_step: str


ETAPAS: t.Dict[int, t.Tuple[str, str]] = {
    0: ("Before the etapas", "Antes das etapas"),
    1: ("Load balancer", "Load balancer"),
    2: ("Shared storage", "Storage compartilhado"),
    3: ("PostgreSQL with replicas", "PostgreSQL com réplicas"),
    4: ("Distributed cache", "Cache distribuído"),
    5: ("Orchestration", "Orquestração"),
    6: ("Centralised metrics", "Métricas centralizadas"),
}

CHECKS: t.Dict[str, Words] = {
    "host_reachable": Words(
        "O host pode ser alcançado",
        "Traga o host de volta ou retire-o do inventário.",
    ),
    "instances_ready": Words(
        "Todas as instâncias da aplicação estão prontas",
        "Leia o journal da instância no host dela e corrija o que falta (banco, storage, configuração).",
    ),
    "one_virtual_ip_holder": Words(
        "Exatamente um balanceador detém o endereço virtual",
        "Veja se os balanceadores se alcançam por VRRP e leia o journal do keepalived em cada um.",
    ),
    "every_instance_answers": Words(
        "As requisições pelo endereço virtual são respondidas por cada instância, uma após a outra",
        "Veja se a instância está pronta e na configuração do balanceador; leia o log de erros do balanceador.",
    ),
    "certificate_valid": Words(
        "O certificado é confiável, cobre o nome e não expira em breve",
        "Renove ou troque o certificado executando de novo o playbook da etapa 1.",
    ),
    "tls_versions": Words(
        "O serviço fala TLS 1.2 ou mais novo, e nada mais antigo",
        "Desligue as versões antigas de TLS no balanceador.",
    ),
    "https_redirect": Words(
        "HTTP sem TLS é redirecionado para HTTPS",
        "Veja se o balanceador escuta na porta 80 e redireciona para o nome público.",
    ),
    "security_headers": Words(
        "As respostas trazem os cabeçalhos de segurança, HSTS entre eles, e não revelam versão",
        "Defina load_balancer_response_headers e load_balancer_hsts_seconds e execute de novo o playbook da etapa 1.",
    ),
    "unknown_names_refused": Words(
        "Requisições para qualquer outro nome são recusadas, com TLS e sem TLS",
        "Veja load_balancer_server_names e load_balancer_snippet e execute de novo o playbook da etapa 1.",
    ),
    "backends_in_rotation": Words(
        "Todas as instâncias estão em rotação no balanceador, nenhuma drenada ou fora",
        "Uma instância drenada volta com deploy_app.yml ou com o playbook da etapa 1; de uma que está fora, leia o journal no host dela.",
    ),
    "backend_checks_fresh": Words(
        "As verificações de saúde do balanceador estão ativas e atualizadas",
        "Leia `journalctl -u escala-backend-health` no balanceador e execute de novo o playbook da etapa 1.",
    ),
    "uploads_flow": Words(
        "Os uploads fluem no balanceador e não estão retidos",
        "Uma retenção termina sozinha; veja se uma migração está em andamento e para onde load_balancer_info diz que vão os uploads.",
    ),
    "services_live": Words(
        "Todos os servidores dos serviços repassados pelo balanceador respondem",
        "Veja se o serviço roda no host indicado e se o certificado dele vale para o nome.",
    ),
    "virtual_ip_witnesses": Words(
        "Cada testemunha vê um só detentor do endereço virtual",
        "Veja se os balanceadores se alcançam por VRRP; até lá, pare o keepalived no que não deveria ter o endereço.",
    ),
    "every_balancer_serves": Words(
        "Cada balanceador responde no seu próprio endereço, também o que está de reserva",
        "Leia o log de erros do balanceador indicado; ele não assumiria o serviço.",
    ),
    "shared_storage_mounted": Words(
        "O storage compartilhado está montado em cada host da aplicação, e como deve",
        "Veja no host indicado o que está montado; desmonte o que não é o storage e execute de novo o playbook da etapa 2.",
    ),
    "shared_storage_answers": Words(
        "O object storage responde e aceita a chave da aplicação",
        "Corrija o que a mensagem nomeia: endereço, certificado, chave, bucket ou relógio.",
    ),
    "shared_storage_space": Words(
        "O storage compartilhado tem espaço de sobra",
        "Apague o que ninguém usa, ou aumente o volume ou a quota no servidor.",
    ),
    "shared_storage_writes": Words(
        "O usuário da aplicação grava, lê e apaga no storage compartilhado",
        "Corrija o que a mensagem nomeia: dono e modo do diretório, mapeamento de usuários, espaço, ou o servidor que não responde.",
    ),
    "shared_storage_shared": Words(
        "O que um host da aplicação grava, cada outro lê, e inteiro",
        "Veja se todos os hosts têm o mesmo storage montado, e o usuário da aplicação com o mesmo número em cada um.",
    ),
    "shared_storage_locks": Words(
        "Um lock que um host detém no storage compartilhado é recusado aos outros",
        "Monte sem nolock, local_lock e nobrl, e veja se os locks do servidor funcionam.",
    ),
    "shared_storage_latency": Words(
        "O storage compartilhado responde rápido o bastante",
        "Veja os discos do storage e a rede até ele.",
    ),
    "storage_pair_whole": Words(
        "Qualquer um dos dois servidores de storage pode falhar, e o outro assume",
        "Corrija o que a mensagem nomeia antes da próxima falha; `crm_mon -1rf` e `cat /proc/drbd` mostram o par.",
    ),
    "postgresql_backup_restorable": Words(
        "O banco pode ser restaurado até agora, e um backup restaurado provou isso há pouco",
        "Leia `escala-pg-backup status` e o journal de escala-pg-backup no host de backup; depois rode playbooks/drill_restore.yml.",
    ),
    "postgresql_nodes_answer": Words(
        "Cada nó de dados do banco responde por TLS, com um certificado do seu nome",
        "Traga o nó de volta, ou corrija o que a mensagem nomeia (senha, certificado, rede).",
    ),
    "one_postgresql_primary": Words(
        "Exatamente um nó de dados é o primário, e um standby o confirma",
        "Leia `escala-pg-guard status` em cada nó; com dois primários, o da timeline mais antiga deve ser isolado já.",
    ),
    "postgresql_one_history": Words(
        "Todos os nós têm os dados do mesmo cluster e estão na timeline do primário",
        "O guard reintegra o nó que divergiu; dados de outro cluster ele não toca: mova-os à mão.",
    ),
    "postgresql_standbys_stream": Words(
        "Cada standby recebe do primário em streaming, por TLS",
        "Leia `escala-pg-guard status` no standby indicado e o log do PostgreSQL nele.",
    ),
    "postgresql_synchronous_commit": Words(
        "Um commit espera por tantos standbys quantos uma falha pode levar",
        "Traga de volta os standbys que faltam; um nó retirado do quórum volta sozinho quando tem tudo.",
    ),
    "postgresql_lag": Words(
        "Nenhum standby está mais atrás do primário do que o permitido",
        "Veja a carga e o disco do standby, e consultas longas que seguram o replay.",
    ),
    "postgresql_slots": Words(
        "Cada standby tem um slot no primário, e nenhum slot guarda WAL para ninguém",
        "Traga de volta o nó do slot; um slot que não é de um nó de dados se remove à mão.",
    ),
    "postgresql_settings": Words(
        "Cada nó está configurado para que commits sobrevivam e um nó que falhou possa voltar",
        "Execute de novo o playbook da etapa 3.",
    ),
    "postgresql_guards_agree": Words(
        "Os guards de todos os nós se veem e concordam sobre o primário",
        "Leia `journalctl -u escala-pg-guard` no nó indicado e veja se a porta 5433 é alcançada.",
    ),
    "postgresql_certificates": Words(
        "Nenhum certificado dos nós do banco expira em breve",
        "Execute renew_certificates.yml, e veja se o timer de renovação está ativo.",
    ),
    "postgresql_token_arrives": Words(
        "O que se escreve no primário pode ser lido em cada standby",
        "Veja se o standby indicado recebe do primário; sem standby que confirme, nenhum commit termina.",
    ),
    "pooler_writes": Words(
        "Cada pooler envia as escritas ao primário, e a mais ninguém",
        "Leia `journalctl -u escala-pg-follow -u pgbouncer` no host indicado; sem primário conhecido, corrija antes o banco.",
    ),
    "pooler_reads": Words(
        "Cada pooler lê de um standby, e do primário só quando não há nenhum",
        "Leia `journalctl -u escala-pg-follow` no host indicado: ele diz por que um standby ficou de fora.",
    ),
    "repmgr_catalogue": Words(
        "O catálogo do repmgr tem cada nó de dados como ele é",
        "Nada decide por ele; o playbook da etapa 3, executado de novo, registra os nós como eles são.",
    ),
}

# A name may end in the place that was looked at, or from which.
_PLACE = re.compile(r"(?:_from|(?<=_reachable))_(?P<place>[a-z0-9_]+)$")


def words_for(check: str) -> t.Optional[Words]:
    """The words for a check; a place at the end of its name is added to the title."""
    found = _PLACE.search(check)
    if check in CHECKS or not found:
        return CHECKS.get(check)
    words = CHECKS.get(check[: found.start()])
    return words and words._replace(title=f"{words.title} ({found['place']})")

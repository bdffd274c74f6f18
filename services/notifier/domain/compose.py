"""What a text says, from whom and to whom: decided from the card, the directory and now, never from the touch."""

from datetime import datetime

from schemas.card import LeadCard, OfficerCard
from services.notifier.domain.delivery import Delivery, RenderedText
from services.policy import gsm, wording
from services.policy.directory import Directory, DirectoryError
from services.policy.numbers import national


class Unsendable(Exception):
    """No text can be made of this touch; the message says what is missing."""


def compose(
    delivery: Delivery, card: LeadCard | None, officer_card: OfficerCard | None, directory: Directory, now: datetime
) -> RenderedText:
    """Return the text.

    The owner is today's, and nothing says "now" unless that owner is available and the branch is open (fact C14). An unknown
    name leaves no gap (fact C10).

    Raises:
        Unsendable: wording, branch or recipient is missing.
    """
    branch_id = card.branch_id if card else delivery.branch_id
    owner = directory.officer(card.owner_id) if card and card.owner_id else None
    status = officer_card.status if officer_card and owner and officer_card.officer_id == owner.id else None
    try:
        branch = directory.branch(branch_id)
        variant = wording.pick_variant(
            directory.templates.get(delivery.template, {}),
            owner_known=owner is not None,
            owner_status=status,
            branch_open=directory.is_open(branch, now),
        )
        template = directory.template(delivery.template, variant)
        body = wording.render(
            template.text,
            name=gsm.clean(card.name) if card and card.name else None,
            officer_name=owner.name if owner else None,
            company=directory.name,
            number=national(branch.numbers[0]),
            nmls_ids=directory.nmls_ids(owner if variant in wording.SIGNED_BY_OFFICER else None),
        )
    except (DirectoryError, wording.NoWording) as error:
        raise Unsendable(str(error)) from error
    if delivery.audience == "officer":
        if owner is None:
            raise Unsendable("the lead has no owner to tell")
        recipient = owner.phone
    else:
        recipient = delivery.caller
    body = gsm.clean(body)
    return RenderedText(
        to=recipient,
        from_number=branch.numbers[0],
        body=body,
        template=delivery.template,
        version=template.version,
        variant=variant,
        rule=wording.VARIANT_RULE,
        rule_version=wording.VARIANT_RULE_VERSION,
        segments=gsm.segments(body),
    )

"""All that has to do with money: payments, memberships, coupons, products and orders."""

from fastapi import APIRouter

from api.routes import coupons, orders, payments, subscriptions

router = APIRouter()
for routes in (payments, subscriptions, coupons, orders):
    router.include_router(routes.router)
